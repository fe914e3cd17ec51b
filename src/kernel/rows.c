#include "rows.h"

int
shape_read(Shape *shape, PyObject *tuple)
{
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a shape is the tuple that Cells.shape gives");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "OpnO!", &shape->names, &shape->chosen, &shape->width,
                          &PyDict_Type, &shape->cuts)) {
        return -1;
    }
    if (shape->names != Py_None &&
        (!PyTuple_CheckExact(shape->names) || PyTuple_GET_SIZE(shape->names) != shape->width)) {
        PyErr_SetString(PyExc_TypeError, "the names in a shape are None or a tuple of that width");
        return -1;
    }
    return 0;
}

PyObject *
dict_get(PyObject *dict, PyObject *key)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *value;
    return PyDict_GetItemRef(dict, key, &value) > 0 ? value : NULL;
#else
    return Py_XNewRef(PyDict_GetItemWithError(dict, key));
#endif
}

static PyObject *
cut_dict(const Shape *shape, PyObject *row)
{
    if (shape->names == Py_None || (!shape->chosen && PyDict_GET_SIZE(row) != shape->width)) {
        return NULL;
    }
    PyObject *cells = PyTuple_New(shape->width);
    for (Py_ssize_t i = 0; cells != NULL && i < shape->width; i++) {
        PyObject *value = dict_get(row, PyTuple_GET_ITEM(shape->names, i));
        if (value == NULL) {
            Py_CLEAR(cells);
        }
        else {
            PyTuple_SET_ITEM(cells, i, value);
        }
    }
    return cells;
}

/* By the function that Python keeps for this kind of row, if it has met it. */
static PyObject *
cut_other(const Shape *shape, PyObject *row)
{
    PyObject *cut = dict_get(shape->cuts, (PyObject *)Py_TYPE(row));
    if (cut == NULL) {
        return NULL;
    }
    PyObject *found = cut == Py_None ? Py_NewRef(row) : PyObject_CallOneArg(cut, row);
    Py_DECREF(cut);
    PyObject *cells = found == NULL ? NULL : PySequence_Fast(found, "a row must be a sequence");
    Py_XDECREF(found);
    return cells;
}

PyObject *
shape_cut(const Shape *shape, PyObject *row)
{
    PyObject *cells = Py_NewRef(row);
    if (!PyTuple_CheckExact(row) && !PyList_CheckExact(row)) {
        cells = PyDict_CheckExact(row) ? cut_dict(shape, row) : cut_other(shape, row);
        Py_DECREF(row);
    }
    if (cells != NULL && PySequence_Fast_GET_SIZE(cells) != shape->width) {
        Py_CLEAR(cells);
    }
    return cells;
}

static int
write_all(PyObject *rows, Buffer *out, void *loop, WriteRow write)
{
    /* Rows that come while these are written do not belong to the batch. */
    Py_ssize_t count = PySequence_Fast_GET_SIZE(rows);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *row = item_of(rows, i);
        int done = row == NULL ? -1 : write(loop, row);
        item_done(rows, row);
        if (done < 0 || (i == 0 && buffer_expect(out, count) < 0)) {
            return -1;
        }
    }
    return 0;
}

int
rows_write(PyObject *batch, Buffer *out, void *loop, WriteRow write)
{
    PyObject *rows = PySequence_Fast(batch, "a batch is a sequence of rows");
    int done = rows == NULL ? -1 : buffer_begin(out, BUFFER_FIRST_BYTES);
    done = done < 0 ? -1 : write_all(rows, out, loop, write);
    Py_XDECREF(rows);
    return done;
}

PyObject *
rows_result(Buffer *out, int done)
{
    if (done < 0) {
        buffer_drop(out);
        return kernel_not_mine();
    }
    return buffer_finish(out);
}

PyObject *
rows_convert(PyObject *converts, PyObject *value)
{
    PyObject *convert = dict_get(converts, (PyObject *)Py_TYPE(value));
    if (convert == NULL) {
        return NULL;
    }
    PyObject *made = convert == Py_None ? Py_NewRef(value) : PyObject_CallOneArg(convert, value);
    Py_DECREF(convert);
    return made;
}
