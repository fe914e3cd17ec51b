#include "arrow.h"

#include <stddef.h>
#include <structmember.h>

#define CAPSULE_NAME "arrow_array_stream"

/* Calls into the producer without the interpreter's lock: its threads may wait for it. */

static int
stream_failed(struct ArrowArrayStream *stream, int code)
{
    const char *why = stream->get_last_error(stream);
    if (PyErr_Occurred()) {
        return -1; /* A producer written in Python may leave its own. */
    }
    PyErr_Format(PyExc_OSError, "%s", why == NULL ? strerror(code) : why);
    return -1;
}

static int
read_schema(ArrowStream *self)
{
    int code;
    Py_BEGIN_ALLOW_THREADS
    code = self->stream.get_schema(&self->stream, &self->schema);
    Py_END_ALLOW_THREADS
    return code ? stream_failed(&self->stream, code) : 0;
}

/* Takes the stream out of its capsule, which must not release it any more. */
static int
take_stream(ArrowStream *self, PyObject *capsule)
{
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    if (stream == NULL) {
        return -1;
    }
    if (stream->release == NULL) {
        PyErr_SetString(PyExc_ValueError, "the Arrow stream was used before");
        return -1;
    }
    self->stream = *stream;
    stream->release = NULL;
    return 0;
}

static PyObject *
names_of(const Column *root)
{
    PyObject *names = PyTuple_New((Py_ssize_t)root->n_children);
    for (int64_t i = 0; names != NULL && i < root->n_children; i++) {
        PyTuple_SET_ITEM(names, (Py_ssize_t)i, Py_NewRef(root->children[i].name));
    }
    return names;
}

static int
stream_init(PyObject *object, PyObject *args, PyObject *keywords)
{
    ArrowStream *self = (ArrowStream *)object;
    PyObject *capsule;
    if (keywords != NULL || self->names != NULL) {
        PyErr_SetString(PyExc_TypeError, "ArrowStream(capsule, values), once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "OO", &capsule, &self->values)) {
        return -1;
    }
    Py_INCREF(self->values);
    PyObject *makers = NULL;
    int done = -1;
    if (take_stream(self, capsule) == 0 && read_schema(self) == 0 &&
        (makers = PyObject_GetAttrString(self->values, "maker")) != NULL &&
        column_read(&self->root, &self->schema, makers) == 0) {
        if (self->root.kind == KIND_STRUCT) {
            self->names = names_of(&self->root);
            done = self->names == NULL ? -1 : 0;
        }
        else {
            PyErr_Format(PyExc_TypeError, "it is one column ('%s'), not a table", self->schema.format);
        }
    }
    Py_XDECREF(makers);
    return done;
}

/* Closed while a read is under way on another thread, it is released when that ends. */
static void
release_stream(ArrowStream *self)
{
    struct ArrowArrayStream stream = self->stream;
    if (stream.release == NULL || self->reading) {
        return;
    }
    self->stream.release = NULL;
    Py_BEGIN_ALLOW_THREADS
    stream.release(&stream);
    Py_END_ALLOW_THREADS
}

static PyObject *
stream_close(PyObject *object, PyObject *unused)
{
    ArrowStream *self = (ArrowStream *)object;
    Py_CLEAR(self->whole);
    release_stream(self);
    Py_RETURN_NONE;
}

static void
stream_dealloc(PyObject *object)
{
    ArrowStream *self = (ArrowStream *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_CLEAR(self->whole);
    release_stream(self);
    column_clear(&self->root);
    if (self->schema.release != NULL) {
        self->schema.release(&self->schema);
    }
    Py_CLEAR(self->names);
    Py_CLEAR(self->values);
    type->tp_free(object);
    Py_DECREF(type);
}

static ArrowBatch *
new_batch(const Kernel *kernel, ArrowStream *stream)
{
    PyTypeObject *type = kernel->arrow_batch;
    ArrowBatch *batch = (ArrowBatch *)type->tp_alloc(type, 0);
    if (batch != NULL) {
        batch->stream = (ArrowStream *)Py_NewRef(stream);
    }
    return batch;
}

/* A row that is null has no cells to show. */
static int
check_rows(const Vector *root)
{
    for (int64_t at = 0; root->valid != NULL && at < root->length; at++) {
        if (!vector_has(root, root->offset + at)) {
            PyErr_Format(PyExc_ValueError, "row %lld of an Arrow batch is null as a whole",
                         (long long)at + 1);
            return -1;
        }
    }
    return 0;
}

/* The next record batch as a whole; NULL without an exception after the last. */
static ArrowBatch *
next_record(const Kernel *kernel, ArrowStream *self)
{
    int code;
    ArrowBatch *batch = new_batch(kernel, self);
    if (batch == NULL) {
        return NULL;
    }
    self->reading = 1;
    Py_BEGIN_ALLOW_THREADS
    code = self->stream.get_next(&self->stream, &batch->array);
    Py_END_ALLOW_THREADS
    self->reading = 0;
    int done = code ? stream_failed(&self->stream, code) : 0;
    if (done == 0 && batch->array.release != NULL) {
        done = vector_bind(&batch->root, &self->root, &batch->array);
        if (done == 0 && check_rows(&batch->root) == 0) {
            batch->rows = batch->array.length;
            return batch;
        }
    }
    Py_DECREF(batch);
    return NULL;
}

static ArrowBatch *
slice_of(const Kernel *kernel, ArrowBatch *batch, int64_t start, int64_t rows)
{
    ArrowBatch *slice = new_batch(kernel, batch->stream);
    if (slice != NULL) {
        slice->whole = Py_NewRef(batch->whole == NULL ? (PyObject *)batch : batch->whole);
        slice->start = batch->start + start;
        slice->rows = rows;
    }
    return slice;
}

static const Kernel *
kernel_of(PyObject *object)
{
    return PyType_GetModuleState(Py_TYPE(object));
}

/* read(want): about so many rows; None after the last. Record batches without rows are left out. */
static PyObject *
stream_read(PyObject *object, PyObject *number)
{
    ArrowStream *self = (ArrowStream *)object;
    const Kernel *kernel = kernel_of(object);
    long long want = PyLong_AsLongLong(number);
    if (want == -1 && PyErr_Occurred()) {
        return NULL;
    }
    while (self->whole == NULL || self->given == ((ArrowBatch *)self->whole)->rows) {
        Py_CLEAR(self->whole);
        if (self->stream.release == NULL || self->reading) {
            PyErr_SetString(PyExc_ValueError, "the Arrow stream is closed");
            return NULL;
        }
        self->whole = (PyObject *)next_record(kernel, self);
        self->given = 0;
        if (self->whole == NULL) {
            if (PyErr_Occurred()) {
                return NULL;
            }
            Py_RETURN_NONE;
        }
    }
    ArrowBatch *whole = (ArrowBatch *)self->whole;
    int64_t left = whole->rows - self->given;
    int64_t rows = want < 1 ? 1 : want;
    /* Less than half a batch is not left over: it would cost as much as a whole one. */
    rows = rows + rows / 2 >= left ? left : rows;
    ArrowBatch *batch = slice_of(kernel, whole, self->given, rows);
    self->given += batch == NULL ? 0 : rows;
    return (PyObject *)batch;
}

static PyMemberDef stream_members[] = {
    {"columns", T_OBJECT_EX, offsetof(ArrowStream, names), READONLY, "The names of the columns."},
    {NULL},
};

static PyMethodDef stream_methods[] = {
    {"read", stream_read, METH_O, "read(want)\n--\n\nSome rows, about `want`; None after the last."},
    {"close", stream_close, METH_NOARGS, "close()\n--\n\nReleases the stream; batches stay."},
    {NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "ArrowStream(capsule, values)\n--\n\nThe batches of an Arrow C stream."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, stream_init},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_members, stream_members},
    {Py_tp_methods, stream_methods},
    {0, NULL},
};

PyType_Spec arrow_stream_spec = {
    .name = "unspool._kernel.ArrowStream",
    .basicsize = sizeof(ArrowStream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stream_slots,
};

ArrowBatch *
arrow_batch_of(const Kernel *kernel, PyObject *object)
{
    return Py_TYPE(object) == kernel->arrow_batch ? (ArrowBatch *)object : NULL;
}

static void
batch_dealloc(PyObject *object)
{
    ArrowBatch *self = (ArrowBatch *)object;
    PyTypeObject *type = Py_TYPE(object);
    vector_clear(&self->root);
    if (self->array.release != NULL) {
        self->array.release(&self->array);
    }
    Py_CLEAR(self->whole);
    Py_CLEAR(self->made);
    Py_CLEAR(self->stream);
    type->tp_free(object);
    Py_DECREF(type);
}

static Py_ssize_t
batch_length(PyObject *object)
{
    return (Py_ssize_t)((ArrowBatch *)object)->rows;
}

/* The rows as a list, made when they are first asked for; borrowed. */
static PyObject *
rows_of(ArrowBatch *self)
{
    if (self->made == NULL) {
        self->made = arrow_rows(self);
    }
    return self->made;
}

static PyObject *
batch_iter(PyObject *object)
{
    PyObject *rows = rows_of((ArrowBatch *)object);
    return rows == NULL ? NULL : PyObject_GetIter(rows);
}

/* The rows beside it are not made. */
static PyObject *
one_row(const ArrowBatch *self, Py_ssize_t index)
{
    if (index == -1 && PyErr_Occurred()) {
        return NULL;
    }
    index += index < 0 ? (Py_ssize_t)self->rows : 0;
    if (index < 0 || index >= self->rows) {
        PyErr_SetString(PyExc_IndexError, "a batch has no such row");
        return NULL;
    }
    return arrow_row(self, index);
}

static PyObject *
batch_item(PyObject *object, PyObject *index)
{
    ArrowBatch *self = (ArrowBatch *)object;
    if (PySlice_Check(index)) {
        Py_ssize_t start, stop, step;
        if (PySlice_Unpack(index, &start, &stop, &step) < 0) {
            return NULL;
        }
        Py_ssize_t rows = PySlice_AdjustIndices((Py_ssize_t)self->rows, &start, &stop, step);
        if (step == 1) {
            return (PyObject *)slice_of(kernel_of(object), self, start, rows);
        }
    }
    else if (self->made == NULL && PyIndex_Check(index)) {
        return one_row(self, PyNumber_AsSsize_t(index, PyExc_IndexError));
    }
    PyObject *rows = rows_of(self);
    return rows == NULL ? NULL : PyObject_GetItem(rows, index);
}

static PyObject *
batch_columns(PyObject *object, void *unused)
{
    return Py_NewRef(((ArrowBatch *)object)->stream->names);
}

static PyObject *
batch_nogil(PyObject *object, void *unused)
{
    Py_RETURN_TRUE;
}

static PyObject *
batch_made(PyObject *object, void *unused)
{
    return PyBool_FromLong(((ArrowBatch *)object)->made != NULL);
}

static PyGetSetDef batch_getset[] = {
    {"made", batch_made, NULL, "Whether its rows were made, because something asked for them.", NULL},
    {"nogil", batch_nogil, NULL, "True: encoders let other threads run meanwhile.", NULL},
    {"columns", batch_columns, NULL, "The names of the columns.", NULL},
    {NULL},
};

/* __arrow_c_array__(requested_schema=None) -> (schema, array); what is requested is not heard. */
static PyObject *
batch_export(PyObject *object, PyObject *args)
{
    ArrowBatch *self = (ArrowBatch *)object;
    PyObject *schema = arrow_export_schema(self->stream);
    PyObject *array = schema == NULL ? NULL : arrow_export_array(self);
    PyObject *both = array == NULL ? NULL : PyTuple_Pack(2, schema, array);
    (void)args;
    Py_XDECREF(schema);
    Py_XDECREF(array);
    return both;
}

static PyMethodDef batch_methods[] = {
    {"__arrow_c_array__", batch_export, METH_VARARGS,
     "__arrow_c_array__(requested_schema=None)\n--\n\nThe batch for other Arrow libraries."},
    {NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_methods, batch_methods},
    {Py_tp_doc, "Some rows of a record batch, as a sequence of tuples."},
    {Py_tp_dealloc, batch_dealloc},
    {Py_tp_iter, batch_iter},
    {Py_mp_length, batch_length},
    {Py_sq_length, batch_length},
    {Py_mp_subscript, batch_item},
    {Py_tp_getset, batch_getset},
    {0, NULL},
};

PyType_Spec arrow_batch_spec = {
    .name = "unspool._kernel.ArrowBatch",
    .basicsize = sizeof(ArrowBatch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_SEQUENCE,
    .slots = batch_slots,
};
