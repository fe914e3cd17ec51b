/* Rows of any kind as cells: what unspool/formats/rows.py knows, where it needs no Python. */
#ifndef UNSPOOL_ROWS_H
#define UNSPOOL_ROWS_H

#include "buffer.h"

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

/* Writes one row, which may be borrowed, or one cell of it; 0 or -1. */
typedef int (*WriteRow)(void *loop, PyObject *row);
typedef int (*WriteCell)(void *loop, PyObject *value, Py_ssize_t position);

/* Begins the buffer and writes each row of a batch into it; 0 or -1. */
int rows_write(PyObject *batch, Buffer *out, void *loop, WriteRow write);

/* What a row loop gives: its bytes, or None where Python must do it. */
PyObject *rows_result(Buffer *out, int done);

/* What the table of functions makes of a value, as a new reference: the value itself where it
 * has None. NULL if the type is not in the table, or if the function failed. */
PyObject *rows_convert(PyObject *converts, PyObject *value);

/* Writes each cell of a row; 0 or -1. Here, so that `write` becomes part of the loop. */
static inline int
rows_cells(const Shape *shape, PyObject *row, void *loop, WriteCell write)
{
    PyObject *cells = shape_cut(shape, row);
    int done = cells == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; done == 0 && i < shape->width; i++) {
        PyObject *value = item_of(cells, i);
        done = value == NULL ? -1 : write(loop, value, i);
        item_done(cells, value);
    }
    Py_XDECREF(cells);
    return done;
}

#endif
