/* Arrow columns: what a field of a schema is, and where the values of an array lie. */
#ifndef UNSPOOL_COLUMN_H
#define UNSPOOL_COLUMN_H

#include "arrow_abi.h"
#include "kernel.h"

typedef enum {
    KIND_NULL,
    KIND_BOOL,  /* a bit each */
    KIND_BOOL8, /* a byte each: the extension arrow.bool8 */
    KIND_INT8,
    KIND_UINT8,
    KIND_INT16,
    KIND_UINT16,
    KIND_INT32,
    KIND_UINT32,
    KIND_INT64,
    KIND_UINT64,
    KIND_FLOAT16,
    KIND_FLOAT32,
    KIND_FLOAT64,
    KIND_DECIMAL, /* `size` bytes, `scale` digits after the point */
    KIND_DATE32,
    KIND_DATE64,
    KIND_TIME32, /* times, timestamps and durations count 10^-`digits` seconds */
    KIND_TIME64,
    KIND_TIMESTAMP,
    KIND_DURATION,
    KIND_INTERVAL_MONTHS,
    KIND_INTERVAL_DAYS,
    KIND_INTERVAL_NANOS,
    KIND_UUID, /* 16 bytes: the extension arrow.uuid */
    KIND_TEXT32,
    KIND_TEXT64,
    KIND_TEXT_VIEW,
    KIND_BINARY32,
    KIND_BINARY64,
    KIND_BINARY_VIEW,
    KIND_BINARY_FIXED, /* `size` bytes */
    KIND_LIST32,
    KIND_LIST64,
    KIND_LIST_VIEW32,
    KIND_LIST_VIEW64,
    KIND_LIST_FIXED, /* `size` items */
    KIND_STRUCT,
    KIND_MAP,
    /* What follows has its values elsewhere: see vector_find. */
    KIND_UNION_SPARSE,
    KIND_UNION_DENSE,
    KIND_DICTIONARY,
    KIND_RUNS, /* run-end encoded */
} Kind;

/* A field of a schema, the same for all batches of a stream. */
typedef struct Column {
    Kind kind;
    Kind index_kind; /* of a dictionary */
    int digits;
    int scale;
    int size;
    int64_t n_children; /* a dictionary has its values as its one child */
    struct Column *children;
    PyObject *name;
    PyObject *zone;     /* the name of the time zone, or NULL */
    PyObject *make;     /* what makes a Python value of the raw one, or NULL */
    int8_t *type_codes; /* of a union: which child has the type code of this index */
    int doubled;        /* two fields of a struct have the same name */
} Column;

/* The values of a column in one batch. */
typedef struct Vector {
    const Column *column;
    Kind kind; /* the column's, near at hand */
    int64_t offset;
    int64_t length;
    const uint8_t *valid; /* a bit each, or NULL if all are */
    const void *data;
    const void *bytes;         /* of texts: what the offsets lead into */
    const void *const *blocks; /* of views: the variadic buffers */
    struct Vector *children;
} Vector;

/* Reads a schema; 0, or -1 with an exception. `makers` is called for each column whose values
 * are not made by the kernel itself, with (kind, digits, zone). */
int column_read(Column *column, const struct ArrowSchema *schema, PyObject *makers);
void column_clear(Column *column);

/* Finds the values of an array that must outlive the vector; 0, or -1 with an exception. */
int vector_bind(Vector *vector, const Column *column, const struct ArrowArray *array);
void vector_clear(Vector *vector);

/* Whether the value at `at` (the vector's offset counted in) is there. */
static inline int
vector_has(const Vector *vector, int64_t at)
{
    return vector->valid == NULL || (vector->valid[at >> 3] >> (at & 7) & 1);
}

int vector_follow(const Vector **vector, int64_t *at);

/* Goes on through unions, dictionaries and runs to the vector that has the value; 0 if there is
 * none. */
static inline int
vector_find(const Vector **vector, int64_t *at)
{
    Kind kind = (*vector)->kind;
    if (kind >= KIND_UNION_SPARSE) {
        return vector_follow(vector, at);
    }
    return kind != KIND_NULL && vector_has(*vector, *at);
}

/* Where a text or binary value lies; gives its length. */
int64_t vector_bytes(const Vector *vector, int64_t at, const char **bytes);

/* The value of an integer, date, time, timestamp or duration. */
int64_t vector_int(const Vector *vector, int64_t at);

double vector_double(const Vector *vector, int64_t at);

/* Where the items of a list lie in its child (whose offset is counted in); gives their number. */
int64_t vector_items(const Vector *vector, int64_t at, int64_t *first);

static inline int
kind_is_text(Kind kind)
{
    return kind >= KIND_TEXT32 && kind <= KIND_TEXT_VIEW;
}

#endif
