/* CSV lines from the buffers of an Arrow batch, in the bytes that csv.c gives for its rows. */
#include "arrow.h"
#include "cells.h"
#include "csv.h"
#include "rows.h"

typedef struct {
    const Csv *csv;
    Buffer out;
    const char *null;
    Py_ssize_t null_size;
    Field *fields;
    int64_t width;
} Columns;

/* Text that a spreadsheet might run goes to Python, which looks closer. */
static inline int
is_guarded(const Csv *csv, const char *text, int64_t size)
{
    return csv->guard && size && (unsigned char)*text < 128 && csv->formula_start[(int)*text];
}

static inline int
write_text(Columns *self, const Field *field, const Vector *vector, int64_t at)
{
    const char *text;
    int64_t size = vector_bytes(vector, at, &text);
    if (!field_is_utf8(field, text, size) || is_guarded(self->csv, text, size)) {
        return -1;
    }
    return csv_write_utf8(self->csv, &self->out, text, (Py_ssize_t)size, self->csv->quote_others);
}

/* What csv.writer does not quote under "nonnumeric". */
static inline int
is_number(Kind kind)
{
    return (kind >= KIND_BOOL && kind <= KIND_DECIMAL) || kind == KIND_UUID;
}

static inline int
has_comma(Kind kind)
{
    return kind >= KIND_DURATION && kind <= KIND_INTERVAL_NANOS;
}

static inline int
write_cell(Columns *self, const Field *field, int64_t row)
{
    const Csv *csv = self->csv;
    Buffer *out = &self->out;
    const Vector *vector = field->vector;
    int64_t at = field->first + row;
    if (!vector_find(&vector, &at)) {
        return csv_write_utf8(csv, out, self->null, self->null_size, csv->quote_others);
    }
    Kind kind = vector->kind;
    if (kind_is_text(kind)) {
        return write_text(self, field, vector, at);
    }
    if (buffer_reserve(out, CELL_BYTES) < 0) {
        return -1;
    }
    char *end = put_cell(out->at, vector, at, &field->zone, ' ');
    if (end == NULL) {
        return -1;
    }
    int quote = is_number(kind) ? csv->quote_numbers : csv->quote_others;
    if (has_comma(kind)) {
        if (csv->guard) {
            return -1; /* One with nanoseconds is not of a plain type: Python may guard it. */
        }
        Py_ssize_t cell = out->at - out->start;
        out->at = end;
        return csv_close_cell(csv, out, cell, quote);
    }
    return csv_close_plain(csv, out, end, quote);
}

static int
write_row(Columns *self, int64_t row)
{
    Buffer *out = &self->out;
    Py_ssize_t start = out->at - out->start;
    for (int64_t i = 0; i < self->width; i++) {
        if ((i && csv_write_delimiter(self->csv, out) < 0) ||
            write_cell(self, &self->fields[i], row) < 0) {
            return -1;
        }
    }
    return csv_end_row(self->csv, out, start, self->width);
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
csv_columns(const ArrowBatch *batch, const Csv *csv)
{
    Columns self = {.csv = csv, .width = arrow_batch_width(batch)};
    int done = -1;
    self.null = PyUnicode_AsUTF8AndSize(csv->null, &self.null_size);
    self.fields = fields_open(arrow_batch_root(batch), batch->start, batch->rows);
    if (self.null != NULL && self.fields != NULL) {
        done = columns_write(&self.out, batch->rows, &self, write_rows);
    }
    fields_close(self.fields, self.width);
    return rows_result(&self.out, done);
}
