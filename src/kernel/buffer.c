#include "buffer.h"

static void
point(Buffer *out, Py_ssize_t used)
{
    out->start = PyBytes_AS_STRING(out->bytes);
    out->at = out->start + used;
    out->limit = out->start + PyBytes_GET_SIZE(out->bytes) - BUFFER_SLACK;
}

int
buffer_begin(Buffer *out, Py_ssize_t size)
{
    out->unlocked = NULL;
    out->bytes = PyBytes_FromStringAndSize(NULL, size + BUFFER_SLACK);
    if (out->bytes == NULL) {
        return -1;
    }
    point(out, 0);
    return 0;
}

static int
grow(Buffer *out, Py_ssize_t size)
{
    Py_ssize_t used = out->at - out->start;
    Py_ssize_t whole = PyBytes_GET_SIZE(out->bytes);
    if (size > PY_SSIZE_T_MAX / 4 || whole > PY_SSIZE_T_MAX / 4) {
        PyErr_NoMemory();
        return -1;
    }
    if (_PyBytes_Resize(&out->bytes, 2 * whole + size + BUFFER_SLACK) < 0) {
        return -1;
    }
    point(out, used);
    return 0;
}

int
buffer_grow(Buffer *out, Py_ssize_t size)
{
    if (out->unlocked == NULL) {
        return grow(out, size);
    }
    buffer_lock(out);
    int done = grow(out, size);
    buffer_unlock(out);
    return done;
}

PyObject *
buffer_finish(Buffer *out)
{
    _PyBytes_Resize(&out->bytes, out->at - out->start);
    return out->bytes;
}

void
buffer_drop(Buffer *out)
{
    Py_CLEAR(out->bytes);
}
