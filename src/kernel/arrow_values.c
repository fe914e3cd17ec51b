/* Rows of Arrow batches as Python's tuples, for formats and values that no columnar loop knows. */
#include "arrow.h"

static PyObject *
list_value(const Vector *vector, int64_t at)
{
    int64_t first;
    int64_t count = vector_items(vector, at, &first);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (int64_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = arrow_value(&vector->children[0], first + i);
        if (item == NULL) {
            Py_CLEAR(list);
        }
        else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        }
    }
    return list;
}

static PyObject *
struct_value(const Vector *vector, int64_t at)
{
    PyObject *dict = PyDict_New();
    for (int64_t i = 0; dict != NULL && i < vector->column->n_children; i++) {
        const Vector *child = &vector->children[i];
        PyObject *value = arrow_value(child, child->offset + at);
        if (value == NULL || PyDict_SetItem(dict, child->column->name, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    if (dict != NULL && PyDict_GET_SIZE(dict) != vector->column->n_children) {
        Py_CLEAR(dict);
        PyErr_SetString(PyExc_ValueError, "two fields of a struct have the same name");
    }
    return dict;
}

static int
put_entry(PyObject *dict, const Vector *entries, int64_t at)
{
    const Vector *keys = &entries->children[0], *values = &entries->children[1];
    PyObject *key = arrow_value(keys, keys->offset + at);
    PyObject *value = key == NULL ? NULL : arrow_value(values, values->offset + at);
    int done = value == NULL ? -1 : PyDict_SetItem(dict, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return done;
}

static PyObject *
map_value(const Vector *vector, int64_t at)
{
    int64_t first;
    int64_t count = vector_items(vector, at, &first);
    PyObject *dict = PyDict_New();
    for (int64_t i = 0; dict != NULL && i < count; i++) {
        if (put_entry(dict, &vector->children[0], first + i) < 0) {
            Py_CLEAR(dict);
        }
    }
    if (dict != NULL && PyDict_GET_SIZE(dict) != count) {
        Py_CLEAR(dict);
        PyErr_SetString(PyExc_ValueError, "a key of a map stands twice");
    }
    return dict;
}

static PyObject *
bytes_value(const Vector *vector, int64_t at)
{
    const char *bytes;
    int64_t size = vector_bytes(vector, at, &bytes);
    return kind_is_text(vector->kind) ? PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, NULL)
                                          : PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

/* What `make` is given: a number, or the bytes where it is more than one. */
static PyObject *
raw_value(const Vector *vector, int64_t at)
{
    int size;
    switch (vector->kind) {
    case KIND_DECIMAL:
    case KIND_UUID:
        size = vector->column->size;
        break;
    case KIND_INTERVAL_DAYS:
        size = 8;
        break;
    case KIND_INTERVAL_NANOS:
        size = 16;
        break;
    case KIND_DATE64:
        return PyLong_FromLongLong(vector_int(vector, at) / 86400000 -
                                   (vector_int(vector, at) % 86400000 < 0));
    default:
        return PyLong_FromLongLong(vector_int(vector, at));
    }
    return PyBytes_FromStringAndSize((const char *)vector->data + at * size, size);
}

static PyObject *
made_value(const Vector *vector, int64_t at)
{
    PyObject *raw = raw_value(vector, at);
    PyObject *value = raw == NULL ? NULL : PyObject_CallOneArg(vector->column->make, raw);
    Py_XDECREF(raw);
    return value;
}

PyObject *
arrow_value(const Vector *vector, int64_t at)
{
    if (!vector_find(&vector, &at)) {
        Py_RETURN_NONE;
    }
    if (vector->column->make != NULL) {
        return made_value(vector, at);
    }
    switch (vector->kind) {
    case KIND_BOOL:
    case KIND_BOOL8:
        return PyBool_FromLong(vector_int(vector, at) != 0);
    case KIND_UINT64:
        return PyLong_FromUnsignedLongLong((uint64_t)vector_int(vector, at));
    case KIND_FLOAT16:
    case KIND_FLOAT32:
    case KIND_FLOAT64:
        return PyFloat_FromDouble(vector_double(vector, at));
    case KIND_TEXT32:
    case KIND_TEXT64:
    case KIND_TEXT_VIEW:
    case KIND_BINARY32:
    case KIND_BINARY64:
    case KIND_BINARY_VIEW:
    case KIND_BINARY_FIXED:
        return bytes_value(vector, at);
    case KIND_LIST32:
    case KIND_LIST64:
    case KIND_LIST_VIEW32:
    case KIND_LIST_VIEW64:
    case KIND_LIST_FIXED:
        return list_value(vector, at);
    case KIND_STRUCT:
        return struct_value(vector, at);
    case KIND_MAP:
        return map_value(vector, at);
    default:
        return PyLong_FromLongLong(vector_int(vector, at));
    }
}

/* Raises what Python makes of a value that failed: a RowError with its place. */
static void
refuse(const ArrowBatch *batch, Py_ssize_t row, int64_t column)
{
    PyObject *type, *error, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return;
    }
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *refused = PyObject_CallMethod(batch->stream->values, "refused", "OnO", error, row,
                                            arrow_batch_root(batch)->column->children[column].name);
    if (refused != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(refused), refused);
        Py_DECREF(refused);
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}

PyObject *
arrow_row(const ArrowBatch *batch, Py_ssize_t row)
{
    const Vector *root = arrow_batch_root(batch);
    int64_t width = root->column->n_children;
    PyObject *tuple = PyTuple_New((Py_ssize_t)width);
    for (int64_t i = 0; tuple != NULL && i < width; i++) {
        const Vector *child = &root->children[i];
        PyObject *value = arrow_value(child, child->offset + root->offset + batch->start + row);
        if (value == NULL) {
            refuse(batch, row, i);
            Py_CLEAR(tuple);
        }
        else {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, value);
        }
    }
    return tuple;
}

PyObject *
arrow_rows(ArrowBatch *batch)
{
    PyObject *rows = PyList_New((Py_ssize_t)batch->rows);
    for (Py_ssize_t i = 0; rows != NULL && i < batch->rows; i++) {
        PyObject *row = arrow_row(batch, i);
        if (row == NULL) {
            Py_CLEAR(rows);
        }
        else {
            PyList_SET_ITEM(rows, i, row);
        }
    }
    return rows;
}
