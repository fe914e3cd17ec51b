/* Rows of XLSX sheets from the buffers of an Arrow batch, in the bytes that xlsx.c gives. */
#include <math.h>

#include "cells.h"
#include "rows.h"
#include "xlsx.h"

/* The number of 1970-01-01 in a sheet. */
#define UNIX_DAY 25569

/* Longer numbers are text: Excel computes with 15 digits. */
#define MOST_DIGITS 15

typedef struct {
    const Escapes *escapes;
    Places *places;
    Buffer out;
    Field *fields;
    int64_t width;
} Columns;

static int
end_number(Buffer *out, char *at)
{
    out->at = PUT(at, XLSX_END);
    return 0;
}

/* A value as the text that str() gives: only of characters that stay as they are. */
static int
write_str(Buffer *out, char *at, const char *text, Py_ssize_t size)
{
    at = PUT(at, XLSX_TEXT);
    memcpy(at, text, (size_t)size);
    out->at = PUT(at + size, XLSX_TEXT_END);
    return 0;
}

static int
write_text(Columns *self, const Field *field, const Vector *vector, int64_t at, char *start)
{
    Buffer *out = &self->out;
    const char *text;
    int64_t size = vector_bytes(vector, at, &text);
    if (size > XLSX_SURE_CHARACTERS || !field_is_utf8(field, text, size)) {
        return -1;
    }
    int spaced = size && (xlsx_is_space((unsigned char)text[0]) ||
                          xlsx_is_space((unsigned char)text[size - 1]));
    out->at = spaced ? PUT(start, XLSX_SPACED) : PUT(start, XLSX_TEXT);
    if (buffer_reserve(out, (Py_ssize_t)size) < 0) {
        return -1;
    }
    Py_ssize_t from = out->at - out->start;
    int found = copy_and_find(&self->escapes->special, out->at, text, (Py_ssize_t)size);
    out->at += size;
    if (found && xlsx_escape(out, self->escapes, from) < 0) {
        return -1;
    }
    return buffer_write(out, XLSX_TEXT_END, sizeof XLSX_TEXT_END - 1);
}

static int
write_days(Buffer *out, char *at, const char *style, size_t size, int64_t ms)
{
    at = put_bytes(at, style, size);
    return end_number(out, put_double(at, (double)ms / DAY_MS));
}

#define WRITE_DAYS(out, at, style, ms) write_days((out), (at), (style), sizeof(style) - 1, (ms))

static int64_t
ms_of(const Moment *moment)
{
    return moment->second * 1000 + moment->nano / 1000000;
}

static int
write_moment(Columns *self, const Vector *vector, int64_t at, char *start)
{
    Buffer *out = &self->out;
    Moment moment = cell_moment(vector, at);
    int64_t day = moment.day + UNIX_DAY;
    switch (vector->kind) {
    case KIND_DATE32:
    case KIND_DATE64:
        return end_number(out, put_int(PUT(start, XLSX_DATE), day));
    case KIND_TIME32:
    case KIND_TIME64:
        return WRITE_DAYS(out, start, XLSX_TIME, ms_of(&moment));
    default:
        return WRITE_DAYS(out, start, XLSX_DATETIME, day * DAY_MS + ms_of(&moment));
    }
}

static int
write_duration(Columns *self, const Vector *vector, int64_t at, char *start)
{
    Moment duration;
    if (cell_duration(vector, at, &duration) < 0) {
        return -1;
    }
    int64_t ms = duration.day * DAY_MS + ms_of(&duration);
    if (ms >> 53) {
        return -1; /* No double: Python divides it rightly. */
    }
    return WRITE_DAYS(&self->out, start, XLSX_DURATION, ms);
}

static int
is_negative(const Vector *vector, int64_t at)
{
    Moment duration;
    return cell_duration(vector, at, &duration) == 0 && duration.day < 0;
}

/* Whether the value of this text is a number to Excel as well, and not only text. */
static int
is_number(const Vector *vector, int64_t at, const char *text, Py_ssize_t size)
{
    const Column *column = vector->column;
    switch (column->kind) {
    case KIND_FLOAT16:
    case KIND_FLOAT32:
    case KIND_FLOAT64:
        return isfinite(vector_double(vector, at));
    case KIND_DECIMAL:
        return column->digits < 0 ? size - (*text == '-') <= MOST_DIGITS : xlsx_is_double(text);
    case KIND_UUID:
        return 0;
    default:
        return size - (*text == '-') <= MOST_DIGITS;
    }
}

/* Whether Excel has no number for this moment. */
static int
is_only_text(const Vector *vector, int64_t at)
{
    const Column *column = vector->column;
    switch (column->kind) {
    case KIND_DATE32:
    case KIND_DATE64:
    case KIND_TIMESTAMP:
        return column->zone != NULL || cell_moment(vector, at).day + UNIX_DAY < XLSX_FIRST_DAY;
    case KIND_TIME32:
    case KIND_TIME64:
        return 0;
    default:
        return is_negative(vector, at);
    }
}

static int
has_nanos(const Vector *vector, int64_t at)
{
    Moment moment;
    if (vector->kind < KIND_DURATION) {
        moment = cell_moment(vector, at);
    }
    else if (cell_duration(vector, at, &moment) < 0) {
        return 0;
    }
    return moment.nano % 1000 != 0;
}

static int
is_moment(Kind kind)
{
    return kind >= KIND_DATE32 && kind <= KIND_INTERVAL_NANOS;
}

static int
write_other(Columns *self, const Field *field, const Vector *vector, int64_t at, char *start)
{
    Kind kind = vector->kind;
    char text[CELL_BYTES + BUFFER_SLACK];
    if (kind == KIND_BOOL || kind == KIND_BOOL8) {
        char *end = PUT(start, XLSX_BOOL);
        *end++ = vector_int(vector, at) ? '1' : '0';
        return end_number(&self->out, end);
    }
    char *end = put_cell(text, vector, at, &field->zone, ' ');
    if (end == NULL) {
        return -1; /* None that Python has, or none at all. */
    }
    *end = 0;
    if (is_moment(kind) && !is_only_text(vector, at)) {
        return kind >= KIND_DURATION ? write_duration(self, vector, at, start)
                                     : write_moment(self, vector, at, start);
    }
    Py_ssize_t size = end - text;
    if (is_moment(kind) && has_nanos(vector, at)) {
        return -1; /* Made plain as a row, it loses them. */
    }
    if (is_moment(kind) || !is_number(vector, at, text, size)) {
        return write_str(&self->out, start, text, size);
    }
    return end_number(&self->out, put_bytes(PUT(start, XLSX_NUMBER), text, (size_t)size));
}

static int
write_cell(Columns *self, const Field *field, int64_t row, Py_ssize_t position)
{
    const Vector *vector = field->vector;
    int64_t at = field->first + row;
    if (!vector_find(&vector, &at)) {
        return 0;
    }
    if (buffer_reserve(&self->out, XLSX_CELL_BYTES) < 0) {
        return -1;
    }
    char *start = put_place(self->places, self->out.at, position);
    return kind_is_text(vector->kind) ? write_text(self, field, vector, at, start)
                                          : write_other(self, field, vector, at, start);
}

static int
write_row(Columns *self, int64_t row)
{
    if (places_begin_row(self->places, &self->out) < 0) {
        return -1;
    }
    for (int64_t i = 0; i < self->width; i++) {
        if (write_cell(self, &self->fields[i], row, (Py_ssize_t)i) < 0) {
            return -1;
        }
    }
    return buffer_write(&self->out, "</row>", 6);
}

static int
write_rows(void *loop, int64_t first, int64_t end)
{
    for (int64_t row = first; row < end; row++) {
        if (write_row(loop, row) < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *
xlsx_columns(const ArrowBatch *batch, const Escapes *escapes, Places *places)
{
    Columns self = {.escapes = escapes, .places = places, .width = arrow_batch_width(batch)};
    self.fields = fields_open(arrow_batch_root(batch), batch->start, batch->rows);
    int done = self.fields == NULL ? -1
                                   : columns_write(&self.out, batch->rows, &self, write_rows);
    fields_close(self.fields, self.width);
    return rows_result(&self.out, done);
}
