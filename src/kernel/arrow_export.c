/* Batches for other libraries: the schema and the array as capsules of the PyCapsule interface.
 *
 * Nothing is copied but the structs that describe the buffers. Each holds what owns its buffers,
 * as whoever takes it may take its children apart. */
#include "arrow.h"

#include <stdlib.h>

#define SCHEMA_NAME "arrow_schema"
#define ARRAY_NAME "arrow_array"

/* Struct by struct the same for schemas and arrays. */
#define DEFINE_SHARE(Type, share, release_shared)                                                  \
    static void release_shared(struct Type *shared)                                                \
    {                                                                                              \
        for (int64_t i = 0; shared->children != NULL && i < shared->n_children; i++) {             \
            if (shared->children[i] != NULL && shared->children[i]->release != NULL) {             \
                shared->children[i]->release(shared->children[i]);                                 \
            }                                                                                      \
            free(shared->children[i]);                                                             \
        }                                                                                          \
        free(shared->children);                                                                    \
        if (shared->dictionary != NULL && shared->dictionary->release != NULL) {                   \
            shared->dictionary->release(shared->dictionary);                                       \
        }                                                                                          \
        free(shared->dictionary);                                                                  \
        PyGILState_STATE state = PyGILState_Ensure();                                              \
        Py_DECREF((PyObject *)shared->private_data);                                               \
        PyGILState_Release(state);                                                                 \
        shared->release = NULL;                                                                    \
    }                                                                                              \
                                                                                                   \
    static int share(struct Type *shared, const struct Type *from, PyObject *owner)                \
    {                                                                                              \
        *shared = *from;                                                                           \
        shared->release = release_shared;                                                          \
        shared->private_data = Py_NewRef(owner);                                                   \
        shared->dictionary = NULL;                                                                 \
        shared->children = calloc((size_t)from->n_children + 1, sizeof(struct Type *));            \
        int done = shared->children == NULL ? -1 : 0;                                              \
        for (int64_t i = 0; done == 0 && i < from->n_children; i++) {                              \
            shared->children[i] = calloc(1, sizeof(struct Type));                                  \
            done = shared->children[i] == NULL                                                     \
                       ? -1                                                                        \
                       : share(shared->children[i], from->children[i], owner);                     \
        }                                                                                          \
        if (done == 0 && from->dictionary != NULL) {                                               \
            shared->dictionary = calloc(1, sizeof(struct Type));                                   \
            done = shared->dictionary == NULL ? -1                                                 \
                                              : share(shared->dictionary, from->dictionary, owner); \
        }                                                                                          \
        return done;                                                                               \
    }

DEFINE_SHARE(ArrowSchema, share_schema, release_schema)
DEFINE_SHARE(ArrowArray, share_array, release_array)

static void
drop_schema(PyObject *capsule)
{
    struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, SCHEMA_NAME);
    if (schema->release != NULL) {
        schema->release(schema);
    }
    free(schema);
}

static void
drop_array(PyObject *capsule)
{
    struct ArrowArray *array = PyCapsule_GetPointer(capsule, ARRAY_NAME);
    if (array->release != NULL) {
        array->release(array);
    }
    free(array);
}

PyObject *
arrow_export_schema(const ArrowStream *stream)
{
    struct ArrowSchema *schema = calloc(1, sizeof(struct ArrowSchema));
    PyObject *capsule = schema == NULL ? PyErr_NoMemory()
                                       : PyCapsule_New(schema, SCHEMA_NAME, drop_schema);
    if (capsule != NULL && share_schema(schema, &stream->schema, (PyObject *)stream) < 0) {
        Py_CLEAR(capsule);
        PyErr_NoMemory();
    }
    return capsule;
}

/* The part goes into the columns: not all readers take a record batch with an offset. */
static void
cut(struct ArrowArray *array, const ArrowBatch *batch)
{
    int64_t start = array->offset + batch->start;
    array->offset = 0;
    array->length = batch->rows;
    array->null_count = 0;
    for (int64_t i = 0; i < array->n_children; i++) {
        struct ArrowArray *child = array->children[i];
        Kind kind = arrow_batch_root(batch)->children[i].kind;
        child->offset += start;
        child->length = batch->rows;
        child->null_count = kind == KIND_NULL ? batch->rows : child->null_count == 0 ? 0 : -1;
    }
}

PyObject *
arrow_export_array(const ArrowBatch *batch)
{
    PyObject *owner = batch->whole == NULL ? (PyObject *)batch : batch->whole;
    struct ArrowArray *array = calloc(1, sizeof(struct ArrowArray));
    PyObject *capsule = array == NULL ? PyErr_NoMemory()
                                      : PyCapsule_New(array, ARRAY_NAME, drop_array);
    if (capsule == NULL) {
        return NULL;
    }
    if (share_array(array, &((const ArrowBatch *)owner)->array, owner) < 0) {
        Py_DECREF(capsule);
        return PyErr_NoMemory();
    }
    cut(array, batch);
    return capsule;
}
