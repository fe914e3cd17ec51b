/* CSV cells in the bytes of Python's csv.writer. */
#ifndef UNSPOOL_CSV_H
#define UNSPOOL_CSV_H

#include "arrow.h"
#include "text.h"
#include "values.h"

/* A dialect, read from the tuple (delimiter, line_end, quoting, null, formula_start) that
 * CsvEncoder makes. */
typedef struct {
    Special special; /* what makes a cell be quoted */
    char delimiter[4];
    int delimiter_size;
    char line_end[2];
    int line_end_size;
    int quote_numbers; /* quoting="all" */
    int quote_others;  /* quoting="all" or "nonnumeric" */
    int check_plain;   /* the delimiter may stand in numbers and dates, or is not ASCII */
    PyObject *null;    /* the text for None; borrowed */
    int guard;         /* text that starts like a formula goes to Python */
    unsigned char formula_start[128];
} Csv;

/* 0, or -1 with an exception. */
int csv_read(Csv *csv, PyObject *dialect);

/* Ends a cell whose bytes were written from offset `cell` on: quotes it if it must be, or if
 * `quote` says so. 0, or -1 with an exception. */
int csv_close_cell(const Csv *csv, Buffer *out, Py_ssize_t cell, int quote);

/* A batch of Arrow columns as lines: bytes; None where the rows must be looked at. */
PyObject *csv_columns(const ArrowBatch *batch, const Csv *csv);

/* Text as a cell, of Python or as UTF-8. 0, or -1, without an exception for a lone surrogate. */
int csv_write_text(const Csv *csv, Buffer *out, PyObject *text, int quote);
int csv_write_utf8(const Csv *csv, Buffer *out, const char *text, Py_ssize_t size, int quote);

/* A number or date whose `size` bytes were put at out->at, with VALUE_BYTES of room. */
static inline int
csv_close_plain(const Csv *csv, Buffer *out, char *end, int quote)
{
    Py_ssize_t cell = out->at - out->start;
    out->at = end;
    return quote || csv->check_plain ? csv_close_cell(csv, out, cell, quote) : 0;
}

static inline int
csv_write_delimiter(const Csv *csv, Buffer *out)
{
    if (buffer_reserve(out, 4) < 0) {
        return -1;
    }
    memcpy(out->at, csv->delimiter, 4);
    out->at += csv->delimiter_size;
    return 0;
}

/* Ends the row that was written from offset `row` on; a row of one empty cell is "". */
static inline int
csv_end_row(const Csv *csv, Buffer *out, Py_ssize_t row, Py_ssize_t width)
{
    if (buffer_reserve(out, 4) < 0) {
        return -1;
    }
    if (width == 1 && out->at - out->start == row) {
        out->at = PUT(out->at, "\"\"");
    }
    memcpy(out->at, csv->line_end, 2);
    out->at += csv->line_end_size;
    return 0;
}

#endif
