/* JSON objects from the buffers of an Arrow batch, in the bytes that json.c gives for its rows. */
#include <math.h>

#include "cells.h"
#include "json.h"
#include "rows.h"

/* Finding a key that stands twice costs the square of this. */
#define MAP_ENTRIES_MAX 64

/* Up to here microseconds are whole numbers as doubles, which divide to the nearest double. */
#define WHOLE_MAX 9007199254740992

static const Zone NO_ZONE;

typedef struct {
    const Escapes *escapes;
    Buffer out;
    Buffer keys;       /* what stands before each value: {"id":  and  ,"name": */
    Py_ssize_t *ends;  /* where each of them ends */
    PyObject *const *marks;
    Field *fields;
    int64_t width;
} Columns;

static int write_value(Columns *self, const Vector *vector, int64_t at, const Zone *zone);

static int
write_byte(Buffer *out, char byte)
{
    if (buffer_reserve(out, 1) < 0) {
        return -1;
    }
    *out->at++ = byte;
    return 0;
}

static int
write_text(Columns *self, const Vector *vector, int64_t at, int checked)
{
    const char *text;
    int64_t size = vector_bytes(vector, at, &text);
    if (!checked && !is_utf8(text, size)) {
        return -1;
    }
    return json_write_utf8(&self->out, self->escapes, text, (Py_ssize_t)size);
}

static int
write_double(Buffer *out, double value)
{
    if (!isfinite(value)) {
        return -1;
    }
    out->at = put_double(out->at, value);
    return 0;
}

/* timedelta.total_seconds(), where doubles give the same as its whole numbers do. */
static int
write_seconds(Buffer *out, const Vector *vector, int64_t at)
{
    Moment duration;
    if (cell_duration(vector, at, &duration) < 0 || duration.nano % 1000) {
        return -1;
    }
    int64_t second = duration.day * 86400 + duration.second;
    if (second > WHOLE_MAX / 1000000 - 1 || second < 1 - WHOLE_MAX / 1000000) {
        return -1;
    }
    return write_double(out, (double)(second * 1000000 + duration.nano / 1000) / 1e6);
}

static int
write_quoted(Buffer *out, const Vector *vector, int64_t at, const Zone *zone)
{
    char *end = put_cell(out->at + 1, vector, at, zone, 'T');
    if (end == NULL) {
        return -1;
    }
    *out->at = '"';
    *end = '"';
    out->at = end + 1;
    return 0;
}

static int
write_list(Columns *self, const Vector *vector, int64_t at)
{
    int64_t first;
    int64_t count = vector_items(vector, at, &first);
    if (write_byte(&self->out, '[') < 0) {
        return -1;
    }
    for (int64_t i = 0; i < count; i++) {
        if ((i && write_byte(&self->out, ',') < 0) ||
            write_value(self, &vector->children[0], first + i, &NO_ZONE) < 0) {
            return -1;
        }
    }
    return write_byte(&self->out, ']');
}

static int
write_struct(Columns *self, const Vector *vector, int64_t at)
{
    if (vector->column->doubled || write_byte(&self->out, '{') < 0) {
        return -1;
    }
    for (int64_t i = 0; i < vector->column->n_children; i++) {
        const Vector *child = &vector->children[i];
        if ((i && write_byte(&self->out, ',') < 0) ||
            json_write_text(&self->out, self->escapes, child->column->name) < 0 ||
            write_byte(&self->out, ':') < 0 ||
            write_value(self, child, child->offset + at, &NO_ZONE) < 0) {
            return -1;
        }
    }
    return write_byte(&self->out, '}');
}

static int
has_twice(const Vector *keys, int64_t first, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        const char *key, *other;
        int64_t size = vector_bytes(keys, first + i, &key);
        for (int64_t j = 0; j < i; j++) {
            if (vector_bytes(keys, first + j, &other) == size &&
                memcmp(key, other, (size_t)size) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* Only keys that are text, and each once, for others are Python's to judge. */
static int
write_map(Columns *self, const Vector *vector, int64_t at)
{
    int64_t first;
    int64_t count = vector_items(vector, at, &first);
    const Vector *entries = &vector->children[0];
    const Vector *keys = &entries->children[0], *values = &entries->children[1];
    int64_t key = keys->offset + first, value = values->offset + first;
    if (!kind_is_text(keys->kind) || count > MAP_ENTRIES_MAX || has_twice(keys, key, count) ||
        write_byte(&self->out, '{') < 0) {
        return -1;
    }
    for (int64_t i = 0; i < count; i++) {
        if ((i && write_byte(&self->out, ',') < 0) || !vector_has(keys, key + i) ||
            write_text(self, keys, key + i, 0) < 0 || write_byte(&self->out, ':') < 0 ||
            write_value(self, values, value + i, &NO_ZONE) < 0) {
            return -1;
        }
    }
    return write_byte(&self->out, '}');
}

static int
write_plain(Buffer *out, const Vector *vector, int64_t at)
{
    char *end = put_cell(out->at, vector, at, &NO_ZONE, ' ');
    if (end == NULL) {
        return -1;
    }
    out->at = end;
    return 0;
}

/* A value that is there, with CELL_BYTES of room. */
static int
write_known(Columns *self, const Vector *vector, int64_t at, const Zone *zone)
{
    Buffer *out = &self->out;
    switch (vector->kind) {
    case KIND_BOOL:
    case KIND_BOOL8:
        out->at = vector_int(vector, at) ? PUT(out->at, "true") : PUT(out->at, "false");
        return 0;
    case KIND_FLOAT16:
    case KIND_FLOAT32:
    case KIND_FLOAT64:
        return write_double(out, vector_double(vector, at));
    case KIND_DURATION:
    case KIND_INTERVAL_MONTHS:
    case KIND_INTERVAL_DAYS:
    case KIND_INTERVAL_NANOS:
        return write_seconds(out, vector, at);
    case KIND_DECIMAL:
        /* Whole numbers of 128 bits are ints in Python. */
        return vector->column->digits < 0 ? write_plain(out, vector, at)
                                          : write_quoted(out, vector, at, zone);
    case KIND_DATE32:
    case KIND_DATE64:
    case KIND_TIME32:
    case KIND_TIME64:
    case KIND_TIMESTAMP:
    case KIND_UUID:
        return write_quoted(out, vector, at, zone);
    case KIND_LIST32:
    case KIND_LIST64:
    case KIND_LIST_VIEW32:
    case KIND_LIST_VIEW64:
    case KIND_LIST_FIXED:
        return write_list(self, vector, at);
    case KIND_STRUCT:
        return write_struct(self, vector, at);
    case KIND_MAP:
        return write_map(self, vector, at);
    default:
        return write_plain(out, vector, at);
    }
}

static int
write_value(Columns *self, const Vector *vector, int64_t at, const Zone *zone)
{
    int there = vector_find(&vector, &at);
    if (there && kind_is_text(vector->kind)) {
        return write_text(self, vector, at, 0);
    }
    if (buffer_reserve(&self->out, CELL_BYTES + 2) < 0) {
        return -1;
    }
    if (!there) {
        self->out.at = PUT(self->out.at, "null");
        return 0;
    }
    return write_known(self, vector, at, zone);
}

static int
write_cell(Columns *self, const Field *field, int64_t row)
{
    int64_t at = field->first + row;
    if (field->checked && vector_has(field->vector, at)) {
        return write_text(self, field->vector, at, 1);
    }
    return write_value(self, field->vector, at, &field->zone);
}

static int
write_row(Columns *self, int64_t row)
{
    Py_ssize_t start = 0;
    for (int64_t i = 0; i < self->width; i++) {
        if (buffer_write(&self->out, self->keys.start + start, self->ends[i] - start) < 0 ||
            write_cell(self, &self->fields[i], row) < 0) {
            return -1;
        }
        start = self->ends[i];
    }
    return write_byte(&self->out, '}');
}

static int
write_mark(Columns *self, int which)
{
    PyObject *mark = self->marks[which];
    return buffer_write(&self->out, PyBytes_AS_STRING(mark), PyBytes_GET_SIZE(mark));
}

static int
write_rows(void *loop, int64_t first, int64_t end)
{
    for (int64_t row = first; row < end; row++) {
        if (write_mark(loop, row > 0) < 0 || write_row(loop, row) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
write_keys(Columns *self, PyObject *names)
{
    for (int64_t i = 0; i < self->width; i++) {
        if (write_byte(&self->keys, i ? ',' : '{') < 0 ||
            json_write_text(&self->keys, self->escapes, PyTuple_GET_ITEM(names, i)) < 0 ||
            write_byte(&self->keys, ':') < 0) {
            return -1;
        }
        self->ends[i] = self->keys.at - self->keys.start;
    }
    return 0;
}

PyObject *
json_columns(const ArrowBatch *batch, const Escapes *escapes, PyObject *names,
             PyObject *const *marks)
{
    Columns self = {.escapes = escapes, .marks = marks, .width = arrow_batch_width(batch)};
    int done = -1;
    self.ends = PyMem_Calloc((size_t)self.width + 1, sizeof(Py_ssize_t));
    self.fields = fields_open(arrow_batch_root(batch), batch->start, batch->rows);
    if (self.width && self.ends != NULL && self.fields != NULL &&
        buffer_begin(&self.keys, BUFFER_FIRST_BYTES) == 0 && write_keys(&self, names) == 0) {
        done = columns_write(&self.out, batch->rows, &self, write_rows);
        done = done < 0 ? -1 : write_mark(&self, 2);
    }
    buffer_drop(&self.keys);
    fields_close(self.fields, self.width);
    PyMem_Free(self.ends);
    return rows_result(&self.out, done);
}
