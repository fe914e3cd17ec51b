/* The Python types of a stream of Arrow batches, and of a batch. */
#ifndef UNSPOOL_ARROW_H
#define UNSPOOL_ARROW_H

#include "column.h"

/* Reads the stream of a capsule; batches hold it, for the sake of its columns. */
typedef struct {
    PyObject_HEAD
    struct ArrowArrayStream stream; /* without `release` once it is closed */
    struct ArrowSchema schema;
    Column root;     /* a struct: its children are the columns */
    PyObject *names; /* a tuple */
    PyObject *values; /* the module unspool.sources.arrow, which makes and refuses values */
    PyObject *whole; /* the record batch being cut up, or NULL */
    int64_t given;   /* rows of it */
    int reading;
} ArrowStream;

/* Some rows of a record batch, as a sequence of tuples. */
typedef struct {
    PyObject_HEAD
    ArrowStream *stream;
    PyObject *whole;         /* the batch that has the array; NULL if it is this one */
    struct ArrowArray array; /* without `release` if it is not this one */
    Vector root;
    int64_t start; /* the first row, in the array */
    int64_t rows;
    PyObject *made; /* a list of rows, once they were asked for; or NULL */
} ArrowBatch;

extern PyType_Spec arrow_stream_spec;
extern PyType_Spec arrow_batch_spec;

/* The batch, if `object` is one; else NULL. */
ArrowBatch *arrow_batch_of(const Kernel *kernel, PyObject *object);

/* The vector that has the rows of a batch, with the batch's columns as its children. */
static inline const Vector *
arrow_batch_root(const ArrowBatch *batch)
{
    return batch->whole == NULL ? &batch->root : &((const ArrowBatch *)batch->whole)->root;
}

static inline int64_t
arrow_batch_width(const ArrowBatch *batch)
{
    return arrow_batch_root(batch)->column->n_children;
}

/* The value of a column as a Python object: a new reference, or NULL with an exception. */
PyObject *arrow_value(const Vector *vector, int64_t at);

/* Capsules for other libraries, which hold what they need; NULL with MemoryError. */
PyObject *arrow_export_schema(const ArrowStream *stream);
PyObject *arrow_export_array(const ArrowBatch *batch);

/* One row as a new tuple; NULL with an exception (RowError). */
PyObject *arrow_row(const ArrowBatch *batch, Py_ssize_t row);

/* The rows of a batch as a new list of tuples; NULL with an exception (RowError). */
PyObject *arrow_rows(ArrowBatch *batch);

#endif
