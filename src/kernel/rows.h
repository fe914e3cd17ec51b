/* Rows of any kind as cells: what unspool/formats/rows.py knows, where it needs no Python. */
#ifndef UNSPOOL_ROWS_H
#define UNSPOOL_ROWS_H

#include "kernel.h"

/* The tuple (names, chosen, width, cuts) that Cells.shape gives. All borrowed. */
typedef struct {
    PyObject *names; /* tuple, or None */
    int chosen;      /* a row may have more names than these */
    Py_ssize_t width;
    PyObject *cuts; /* type -> function that cuts a row, or None for a sequence */
} Shape;

/* 0, or -1 with an exception. */
int shape_read(Shape *shape, PyObject *tuple);

/* The cells of a row, as a new tuple or list of the right width: the row itself if it is one.
 * NULL, with an exception or without, if Python must look at it. */
PyObject *shape_cut(const Shape *shape, PyObject *row);

/* The value of a key, as a new reference; NULL if there is none, maybe with an exception. */
PyObject *dict_get(PyObject *dict, PyObject *key);

/* The item of a tuple or list that no other code can take away meanwhile; a new reference.
 * NULL if the list has become shorter. */
static inline PyObject *
item_of(PyObject *sequence, Py_ssize_t index)
{
    if (PyTuple_Check(sequence)) {
        return Py_NewRef(PyTuple_GET_ITEM(sequence, index));
    }
#if defined(Py_GIL_DISABLED)
    PyObject *item = PyList_GetItemRef(sequence, index);
    if (item == NULL) {
        PyErr_Clear();
    }
    return item;
#else
    return index < PyList_GET_SIZE(sequence) ? Py_NewRef(PyList_GET_ITEM(sequence, index)) : NULL;
#endif
}

#endif
