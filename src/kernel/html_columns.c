/* Rows of HTML tables from the buffers of an Arrow batch, in the bytes that html.c gives. */
#include "cells.h"
#include "html.h"
#include "rows.h"

typedef struct {
    const Escapes *escapes;
    Buffer out;
    Field *fields;
    int64_t width;
} Columns;

static int
write_value(Columns *self, const Field *field, int64_t row)
{
    Buffer *out = &self->out;
    const Vector *vector = field->vector;
    int64_t at = field->first + row;
    if (!vector_find(&vector, &at)) {
        return 0;
    }
    if (kind_is_text(vector->kind)) {
        const char *text;
        int64_t size = vector_bytes(vector, at, &text);
        return field_is_utf8(field, text, size)
                   ? text_write_utf8_escaped(out, self->escapes, text, (Py_ssize_t)size)
                   : -1;
    }
    if (buffer_reserve(out, CELL_BYTES) < 0) {
        return -1;
    }
    char *end = put_cell(out->at, vector, at, &field->zone, ' ');
    if (end == NULL) {
        return -1;
    }
    out->at = end;
    return 0;
}

static int
write_row(Columns *self, int64_t row)
{
    Buffer *out = &self->out;
    if (buffer_write(out, "<tr>", 4) < 0) {
        return -1;
    }
    for (int64_t i = 0; i < self->width; i++) {
        if (buffer_write(out, "<td>", 4) < 0 || write_value(self, &self->fields[i], row) < 0 ||
            buffer_write(out, "</td>", 5) < 0) {
            return -1;
        }
    }
    return buffer_write(out, "</tr>\n", 6);
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
html_columns(const ArrowBatch *batch, const Escapes *escapes)
{
    Columns self = {.escapes = escapes, .width = arrow_batch_width(batch)};
    self.fields = fields_open(arrow_batch_root(batch), batch->start, batch->rows);
    int done = self.fields == NULL ? -1
                                   : columns_write(&self.out, batch->rows, &self, write_rows);
    fields_close(self.fields, self.width);
    return rows_result(&self.out, done);
}
