/* Values of Arrow columns as text, in the words of Python's str(). */
#ifndef UNSPOOL_CELLS_H
#define UNSPOOL_CELLS_H

#include "column.h"
#include "values.h"

/* No number, date, time or duration is longer: a decimal of 256 bits has 77 digits, and up to
 * eight characters besides. */
#define CELL_BYTES 96

/* From when on which offset from UTC holds, for the times of one batch. */
typedef struct {
    PyObject *table;        /* owns what follows */
    const int64_t *edges;   /* seconds since 1970 */
    const int32_t *offsets; /* seconds: the first before the first edge, and one after each */
    Py_ssize_t count;       /* of the edges */
} Zone;

/* A column of a batch, on its way into a format. */
typedef struct {
    const Vector *vector;
    int64_t first; /* where the value of the first row is */
    Zone zone;
    int checked; /* all its text is known to be UTF-8 */
} Field;

/* A day and the nanoseconds since its midnight. */
typedef struct {
    int64_t day;
    int64_t second;
    int64_t nano;
} Moment;

/* Finds the columns of `rows` rows from `start` on; NULL, with an exception or without, if
 * there is a time zone that only Python knows how to treat. */
Field *fields_open(const Vector *batch, int64_t start, int64_t rows);
void fields_close(Field *fields, int64_t count);

/* Writes the rows from `first` to before `end`; 0 or -1. */
typedef int (*WriteRows)(void *loop, int64_t first, int64_t end);

/* Begins the buffer and writes all rows, while other threads may run Python; 0 or -1. */
int columns_write(Buffer *out, int64_t rows, void *loop, WriteRows write);

/* Writes the value at `at`, which is there, within CELL_BYTES; gives the end, or NULL if the
 * column has no such values (text, lists), or the value is none that Python knows. */
char *put_cell(char *to, const Vector *vector, int64_t at, const Zone *zone, char separator);

/* A date, time or timestamp, in UTC. */
Moment cell_moment(const Vector *vector, int64_t at);

/* A duration or an interval without months; 0, or -1 if Python knows no such. */
int cell_duration(const Vector *vector, int64_t at, Moment *duration);

/* Whether these bytes are UTF-8 as Python has it. */
int is_utf8(const char *bytes, int64_t size);

static inline int
field_is_utf8(const Field *field, const char *bytes, int64_t size)
{
    return field->checked || is_utf8(bytes, size);
}

#endif
