#include "csv.h"

#include "rows.h"

/* Every character of numbers, dates, times and UUIDs. */
#define PLAIN_CHARACTERS "0123456789abcdefinsTFrul+-.: "

static int
read_delimiter(Csv *csv, PyObject *text)
{
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    if (utf8 == NULL) {
        return -1;
    }
    if (PyUnicode_GET_LENGTH(text) != 1) {
        PyErr_SetString(PyExc_ValueError, "a delimiter is one character");
        return -1;
    }
    memset(csv->delimiter, 0, sizeof csv->delimiter);
    memcpy(csv->delimiter, utf8, (size_t)size);
    csv->delimiter_size = (int)size;
    char bytes[] = {'"', '\r', '\n', size == 1 ? utf8[0] : '"'};
    special_init(&csv->special, bytes, sizeof bytes, 0);
    csv->check_plain = size == 1 && strchr(PLAIN_CHARACTERS, utf8[0]) != NULL;
    return 0;
}

int
csv_read(Csv *csv, PyObject *dialect)
{
    PyObject *delimiter, *null;
    const char *line_end, *formula_start;
    int quoting;
    if (!PyTuple_Check(dialect)) {
        PyErr_SetString(PyExc_TypeError, "a dialect is the tuple that CsvEncoder makes");
        return -1;
    }
    if (!PyArg_ParseTuple(dialect, "UsiUs", &delimiter, &line_end, &quoting, &null, &formula_start) ||
        read_delimiter(csv, delimiter) < 0) {
        return -1;
    }
    csv->line_end_size = line_end[0] && line_end[1] ? 2 : 1;
    memcpy(csv->line_end, line_end, 2);
    csv->quote_numbers = quoting == 1;
    csv->quote_others = quoting != 0;
    csv->null = null;
    csv->guard = formula_start[0] != 0;
    memset(csv->formula_start, 0, sizeof csv->formula_start);
    for (const char *p = formula_start; *p; p++) {
        csv->formula_start[*p & 0x7F] = 1;
    }
    return 0;
}

static int
has_wide_delimiter(const Csv *csv, const char *text, const char *end)
{
    Py_ssize_t size = csv->delimiter_size;
    for (; end - text >= size; text++) {
        if (memcmp(text, csv->delimiter, (size_t)size) == 0) {
            return 1;
        }
    }
    return 0;
}

static int
must_quote(const Csv *csv, const char *text, const char *end)
{
    return find_special(&csv->special, text, end) < end ||
           (csv->delimiter_size > 1 && has_wide_delimiter(csv, text, end));
}

int
csv_close_cell(const Csv *csv, Buffer *out, Py_ssize_t cell, int quote)
{
    const char *text = out->start + cell;
    if (!quote && !must_quote(csv, text, out->at)) {
        return 0;
    }
    Py_ssize_t quotes = 2;
    for (const char *p = text; p < out->at; p++) {
        quotes += *p == '"';
    }
    if (buffer_reserve(out, quotes) < 0) {
        return -1;
    }
    /* From the end backwards, where the text moves over itself. */
    const char *from = out->at;
    char *start = out->start + cell;
    char *to = out->at + quotes;
    out->at = to;
    *--to = '"';
    if (quotes == 2) {
        memmove(start + 1, start, (size_t)(from - start));
    }
    else {
        while (from > start) {
            char c = *--from;
            *--to = c;
            if (c == '"') {
                *--to = '"';
            }
        }
    }
    *start = '"';
    return 0;
}

int
csv_write_utf8(const Csv *csv, Buffer *out, const char *text, Py_ssize_t size, int quote)
{
    if (buffer_reserve(out, size) < 0) {
        return -1;
    }
    Py_ssize_t cell = out->at - out->start;
    int found = copy_and_find(&csv->special, out->at, text, size);
    out->at += size;
    return found || quote || csv->delimiter_size > 1 ? csv_close_cell(csv, out, cell, quote) : 0;
}

int
csv_write_text(const Csv *csv, Buffer *out, PyObject *text, int quote)
{
    if (text_ready(text) < 0) {
        return -1;
    }
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        return csv_write_utf8(csv, out, (const char *)PyUnicode_1BYTE_DATA(text),
                              PyUnicode_GET_LENGTH(text), quote);
    }
    Py_ssize_t cell = out->at - out->start;
    if (text_write_wide(out, text) < 0) {
        return -1;
    }
    return csv_close_cell(csv, out, cell, quote);
}

typedef struct {
    const Kernel *kernel;
    Csv csv;
    Shape shape;
    Buffer out;
    PyObject *converts; /* type -> function that makes a cell of a value, or None; borrowed */
} Rows;

/* What csv.writer makes of any value: its str(). */
static int
write_str(Rows *rows, PyObject *value, int quote)
{
    Py_INCREF(value);
    PyObject *text = PyObject_Str(value);
    int done = text == NULL ? -1 : csv_write_text(&rows->csv, &rows->out, text, quote);
    Py_XDECREF(text);
    Py_DECREF(value);
    return done;
}

static int
write_plain(Rows *rows, PyObject *value, char *end, int quote)
{
    if (end != NULL) {
        return csv_close_plain(&rows->csv, &rows->out, end, quote);
    }
    return PyErr_Occurred() ? -1 : write_str(rows, value, quote);
}

/* Text that the user gave as a cell, not one that a function made. */
static int
write_own_text(Rows *rows, PyObject *text)
{
    Csv *csv = &rows->csv;
    if (csv->guard && PyUnicode_GET_LENGTH(text)) {
        Py_UCS4 first = PyUnicode_READ_CHAR(text, 0);
        if (first < 128 && csv->formula_start[first]) {
            PyObject *guard = dict_get(rows->converts, (PyObject *)&PyUnicode_Type);
            Py_INCREF(text);
            PyObject *guarded = guard == NULL ? NULL : PyObject_CallOneArg(guard, text);
            Py_XDECREF(guard);
            Py_DECREF(text);
            int done = guarded != NULL && PyUnicode_Check(guarded)
                           ? csv_write_text(csv, &rows->out, guarded, csv->quote_others)
                           : -1;
            Py_XDECREF(guarded);
            return done;
        }
    }
    return csv_write_text(csv, &rows->out, text, csv->quote_others);
}

/* Any value as csv.writer takes it, but None as `null`. */
static int
write_any(Rows *rows, PyObject *value)
{
    const Csv *csv = &rows->csv;
    if (PyUnicode_Check(value)) {
        return csv_write_text(csv, &rows->out, value, csv->quote_others);
    }
    if (value == Py_None) {
        return csv_write_text(csv, &rows->out, csv->null, csv->quote_others);
    }
    int number = csv->quote_others && PyNumber_Check(value);
    return write_str(rows, value, number ? csv->quote_numbers : csv->quote_others);
}

/* A value of another type: as Python's table says. */
static int
write_converted(Rows *rows, PyObject *value)
{
    PyObject *cell = rows_convert(rows->converts, value);
    int done = cell == NULL ? -1 : write_any(rows, cell);
    Py_XDECREF(cell);
    return done;
}

/* A value that only other code can write; held meanwhile. */
static int
write_other(Rows *rows, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    const Csv *csv = &rows->csv;
    if (type == rows->kernel->decimal) {
        return write_str(rows, value, csv->quote_numbers);
    }
    if (type == rows->kernel->uuid) {
        char *end = put_uuid_object(rows->kernel, rows->out.at, value);
        return write_plain(rows, value, end, csv->quote_numbers);
    }
    return write_converted(rows, value);
}

/* `value` may be borrowed. */
static int
write_value(Rows *rows, PyObject *value)
{
    const Kernel *kernel = rows->kernel;
    const Csv *csv = &rows->csv;
    Buffer *out = &rows->out;
    PyTypeObject *type = Py_TYPE(value);
    int numbers = csv->quote_numbers, others = csv->quote_others;

    if (type == &PyUnicode_Type) {
        return write_own_text(rows, value);
    }
    if (value == Py_None) {
        return csv_write_text(csv, out, csv->null, others);
    }
    if (buffer_reserve(out, VALUE_BYTES) < 0) {
        return -1;
    }
    if (type == &PyLong_Type) {
        return write_plain(rows, value, put_long(out->at, value), numbers);
    }
    if (type == &PyFloat_Type) {
        return write_plain(rows, value, put_double(out->at, PyFloat_AS_DOUBLE(value)), numbers);
    }
    if (type == &PyBool_Type) {
        char *end = value == Py_True ? PUT(out->at, "True") : PUT(out->at, "False");
        return write_plain(rows, value, end, numbers);
    }
    if (type == kernel->datetime) {
        return write_plain(rows, value, put_datetime_object(kernel, out->at, value, ' '), others);
    }
    if (type == kernel->date) {
        return write_plain(rows, value, put_date_object(out->at, value), others);
    }
    if (type == kernel->time) {
        return write_plain(rows, value, put_time_object(out->at, value), others);
    }
    Py_INCREF(value);
    int done = write_other(rows, value);
    Py_DECREF(value);
    return done;
}

static int
write_cell(void *loop, PyObject *value, Py_ssize_t position)
{
    Rows *rows = loop;
    if (position && csv_write_delimiter(&rows->csv, &rows->out) < 0) {
        return -1;
    }
    return write_value(rows, value);
}

static int
write_row(void *loop, PyObject *row)
{
    Rows *rows = loop;
    Py_ssize_t start = rows->out.at - rows->out.start;
    if (rows_cells(&rows->shape, row, rows, write_cell) < 0) {
        return -1;
    }
    return csv_end_row(&rows->csv, &rows->out, start, rows->shape.width);
}

/* csv_rows(batch, shape, dialect, converts) -> bytes, or None where Python must do it. */
PyObject *
kernel_csv_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Rows rows = {.kernel = PyModule_GetState(module)};
    if (nargs != 4 || !PyDict_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "csv_rows(batch, shape, dialect, converts)");
        return NULL;
    }
    rows.converts = args[3];
    if (shape_read(&rows.shape, args[1]) < 0 || csv_read(&rows.csv, args[2]) < 0) {
        return NULL;
    }
    ArrowBatch *columns = arrow_batch_of(rows.kernel, args[0]);
    if (columns != NULL && arrow_batch_width(columns) == rows.shape.width) {
        PyObject *bytes = csv_columns(columns, &rows.csv);
        if (bytes != Py_None) {
            return bytes;
        }
        Py_DECREF(bytes);
    }
    return rows_result(&rows.out, rows_write(args[0], &rows.out, &rows, write_row));
}
