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

/* The cells of a row, which may be borrowed, as a new tuple or list of the right width: the row itself if it is one.
 * NULL, with an exception or without, if Python must look at it. */
PyObject *shape_cut(const Shape *shape, PyObject *row);

/* The value of a key, as a new reference; NULL if there is none, maybe with an exception. */
PyObject *dict_get(PyObject *dict, PyObject *key);

/* Whether an item of a tuple or list stays while no other code runs: not in a list, where
 * threads run freely. Items are borrowed then, for counting references costs a write to each. */
static inline int
items_stay(PyObject *sequence)
{
#if defined(Py_GIL_DISABLED)
    return PyTuple_Check(sequence);
#else
    (void)sequence;
    return 1;
#endif
}

/* The item of a tuple or list, borrowed if items stay, or else a new reference. NULL if the
 * list has become shorter. */
static inline PyObject *
item_of(PyObject *sequence, Py_ssize_t index)
{
    if (PyTuple_Check(sequence)) {
        return PyTuple_GET_ITEM(sequence, index);
    }
#if defined(Py_GIL_DISABLED)
    PyObject *item = PyList_GetItemRef(sequence, index);
    if (item == NULL) {
        PyErr_Clear();
    }
    return item;
#else
    return index < PyList_GET_SIZE(sequence) ? PyList_GET_ITEM(sequence, index) : NULL;
#endif
}

/* Lets go of an item of `sequence`. */
static inline void
item_done(PyObject *sequence, PyObject *item)
{
    if (!items_stay(sequence)) {
        Py_XDECREF(item);
    }
}

#endif
