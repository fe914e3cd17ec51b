#include "buffer.h"

static void
point(Buffer *out, Py_ssize_t used)
{
    out->start = PyBytes_AS_STRING(out->bytes);
    out->at = out->start + used;
    out->limit = out->start + PyBytes_GET_SIZE(out->bytes) - BUFFER_SLACK;
}

/* What is made ready at most, for the first row may be an odd one; longer batches double it. */
#define EXPECTED_BYTES (4 * 1024 * 1024)

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

int
buffer_expect(Buffer *out, Py_ssize_t rows)
{
    Py_ssize_t used = out->at - out->start;
    if (used > EXPECTED_BYTES) {
        return 0;
    }
    Py_ssize_t most = EXPECTED_BYTES / (used + 1);
    Py_ssize_t size = (rows < most ? rows : most) * used;
    return buffer_reserve(out, size + size / 8);
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
    if (_PyBytes_Resize(&out->bytes, (size > whole ? 0 : whole) + used + size + BUFFER_SLACK) < 0) {
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

/* A little room stays unused. If it were given back, glibc would judge by what is left that the
 * next buffer is too large for its heap, and map and clear new pages for each batch. */
PyObject *
buffer_finish(Buffer *out)
{
    Py_ssize_t used = out->at - out->start;
    if (used < BUFFER_FIRST_BYTES || PyBytes_GET_SIZE(out->bytes) - used > used / 4) {
        _PyBytes_Resize(&out->bytes, used);
    }
    else {
        *out->at = 0;
        Py_SET_SIZE(out->bytes, used);
    }
    return out->bytes;
}

void
buffer_drop(Buffer *out)
{
    Py_CLEAR(out->bytes);
}
