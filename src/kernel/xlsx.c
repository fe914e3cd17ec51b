#include "xlsx.h"

#include <datetime.h>
#include <math.h>

#include "rows.h"
#include "values.h"

#define MOST_COLUMNS 16384

Escapes *
xlsx_escapes(void)
{
    /* 0xEF begins U+FFFE and U+FFFF. */
    return escapes_new("&<>_\xEF", 5, 0x20);
}

/* Whether this underscore begins what readers take for an escape: one to four digits. */
static int
like_escape(const char *from, const char *end)
{
    const char *p = from + 1;
    if (p >= end || (*p != 'x' && *p != 'X')) {
        return 0;
    }
    const char *digits = ++p;
    while (p < end && Py_ISXDIGIT(*p)) {
        p++;
    }
    return p < end && *p == '_' && p > digits && p - digits <= 4;
}

static char *
put_escape(char *at, unsigned code_point)
{
    static const char hex[] = "0123456789ABCDEF";
    at = PUT(at, "_x");
    for (int shift = 12; shift >= 0; shift -= 4) {
        *at++ = hex[code_point >> shift & 0xF];
    }
    *at++ = '_';
    return at;
}

/* Writes the character at `from`, at most 7 bytes for each of its own, and gives how many those
 * are. */
static int
put_escaped(char **at, const char *from, const char *end)
{
    unsigned char c = (unsigned char)*from;
    switch (c) {
    case '&':
        *at = PUT(*at, "&amp;");
        return 1;
    case '<':
        *at = PUT(*at, "&lt;");
        return 1;
    case '>':
        *at = PUT(*at, "&gt;");
        return 1;
    }
    if ((c < 0x20 && c != '\t' && c != '\n') || (c == '_' && like_escape(from, end))) {
        *at = put_escape(*at, c);
        return 1;
    }
    if (c == 0xEF && from[1] == '\xBF' && (unsigned char)from[2] >= 0xBE) {
        *at = put_escape(*at, 0xFFC0u | ((unsigned char)from[2] & 0x3Fu));
        return 3;
    }
    *(*at)++ = (char)c;
    return 1;
}

/* What is behind the first special byte moves out of the way, and comes back escaped. */
int
xlsx_escape(Buffer *out, const Escapes *escapes, Py_ssize_t from)
{
    const char *first = find_special(&escapes->special, out->start + from, out->at);
    Py_ssize_t kept = first - out->start, size = out->at - first;
    if (size == 0) {
        return 0;
    }
    if (size > PY_SSIZE_T_MAX / 16 || buffer_reserve(out, 6 * size) < 0) {
        return -1;
    }
    char *at = out->start + kept;
    const char *read = memmove(at + 6 * size, at, (size_t)size);
    const char *end = read + size;
    while (read < end) {
        read += put_escaped(&at, read, end);
    }
    out->at = at;
    return 0;
}

int
xlsx_ordinal(int year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int years = year - 1;
    return years * 365 + years / 4 - years / 100 + years / 400 + before[month - 1] +
           (leap && month > 2) + day;
}

typedef struct {
    const Kernel *kernel;
    Shape shape;
    Buffer out;
    PyObject *converts; /* type -> function that makes a plain value, or None; borrowed */
    Places places;
} Sheet;

/* A, B, …, Z, AA, …, XFD */
static void
put_letters(char letters[LETTERS], Py_ssize_t position)
{
    char reversed[LETTERS];
    int size = 0;
    for (Py_ssize_t number = position + 1; number; number = (number - 1) / 26) {
        reversed[size++] = (char)('A' + (number - 1) % 26);
    }
    for (int i = 0; i < size; i++) {
        letters[i] = reversed[size - 1 - i];
    }
    letters[LETTERS - 1] = (char)size;
}

int
places_begin(Places *places, PyObject *number, Py_ssize_t width)
{
    places->number = PyLong_AsLongLong(number);
    if (places->number == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (width > MOST_COLUMNS) {
        PyErr_Format(PyExc_ValueError, "a sheet has %d columns at most", MOST_COLUMNS);
        return -1;
    }
    places->letters = PyMem_Malloc((size_t)(width + 1) * LETTERS);
    if (places->letters == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < width; i++) {
        put_letters(places->letters[i], i);
    }
    return 0;
}

int
places_begin_row(Places *places, Buffer *out)
{
    places->digits_size = put_int(places->digits, places->number++) - places->digits;
    if (buffer_write(out, "<row r=\"", 8) < 0 ||
        buffer_write(out, places->digits, places->digits_size) < 0) {
        return -1;
    }
    return buffer_write(out, "\">", 2);
}

static char *
put_start(const Sheet *sheet, Py_ssize_t position)
{
    return put_place(&sheet->places, sheet->out.at, position);
}

static int
end_number(Sheet *sheet, char *at)
{
    sheet->out.at = PUT(at, XLSX_END);
    return 0;
}

static int
write_contents(Sheet *sheet, PyObject *text)
{
    Buffer *out = &sheet->out;
    const Escapes *escapes = sheet->kernel->xlsx;
    Py_ssize_t from = out->at - out->start;
    if (!PyUnicode_IS_COMPACT_ASCII(text)) {
        return text_write_wide(out, text) < 0 ? -1 : xlsx_escape(out, escapes, from);
    }
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    if (buffer_reserve(out, size) < 0) {
        return -1;
    }
    const char *ascii = (const char *)PyUnicode_1BYTE_DATA(text);
    int found = copy_and_find(&escapes->special, out->at, ascii, size);
    out->at += size;
    return found ? xlsx_escape(out, escapes, from) : 0;
}

static int
write_text(Sheet *sheet, PyObject *text, Py_ssize_t position)
{
    Buffer *out = &sheet->out;
    if (text_ready(text) < 0 || buffer_reserve(out, XLSX_CELL_BYTES) < 0) {
        return -1;
    }
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (length > XLSX_SURE_CHARACTERS) {
        return -1;
    }
    int spaced = length && (xlsx_is_space(PyUnicode_READ_CHAR(text, 0)) ||
                            xlsx_is_space(PyUnicode_READ_CHAR(text, length - 1)));
    char *at = put_start(sheet, position);
    out->at = spaced ? PUT(at, XLSX_SPACED) : PUT(at, XLSX_TEXT);
    return write_contents(sheet, text) < 0
               ? -1
               : buffer_write(out, XLSX_TEXT_END, sizeof XLSX_TEXT_END - 1);
}

/* A number or moment that Excel cannot hold; `value` may be borrowed. */
static int
write_str(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    Py_INCREF(value);
    PyObject *text = PyObject_Str(value);
    int done = text == NULL ? -1 : write_text(sheet, text, position);
    Py_XDECREF(text);
    Py_DECREF(value);
    return done;
}

static int
write_long(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow || number > XLSX_MOST_INT || number < -XLSX_MOST_INT) {
        return write_str(sheet, value, position);
    }
    return end_number(sheet, put_int(PUT(put_start(sheet, position), XLSX_NUMBER), number));
}

static int
write_double(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    double number = PyFloat_AS_DOUBLE(value);
    if (!isfinite(number)) {
        return write_str(sheet, value, position);
    }
    return end_number(sheet, put_double(PUT(put_start(sheet, position), XLSX_NUMBER), number));
}

static int
write_bool(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    char *at = PUT(put_start(sheet, position), XLSX_BOOL);
    *at++ = value == Py_True ? '1' : '0';
    return end_number(sheet, at);
}

/* Days since the epoch of sheets. */
static int
day_of(PyObject *date)
{
    return xlsx_ordinal(PyDateTime_GET_YEAR(date), PyDateTime_GET_MONTH(date),
                        PyDateTime_GET_DAY(date)) -
           XLSX_EPOCH_DAY;
}

static int
write_date(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    int day = day_of(value);
    if (day < XLSX_FIRST_DAY) {
        return write_str(sheet, value, position);
    }
    return end_number(sheet, put_int(PUT(put_start(sheet, position), XLSX_DATE), day));
}

static int
time_ms(int hour, int minute, int second, int micro)
{
    return (hour * 3600 + minute * 60 + second) * 1000 + micro / 1000;
}

static int
write_datetime(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    int day = day_of(value);
    if (PyDateTime_DATE_GET_TZINFO(value) != Py_None || day < XLSX_FIRST_DAY) {
        return write_str(sheet, value, position);
    }
    int ms = time_ms(PyDateTime_DATE_GET_HOUR(value), PyDateTime_DATE_GET_MINUTE(value),
                     PyDateTime_DATE_GET_SECOND(value), PyDateTime_DATE_GET_MICROSECOND(value));
    double days = (double)((int64_t)day * DAY_MS + ms) / DAY_MS;
    return end_number(sheet, put_double(PUT(put_start(sheet, position), XLSX_DATETIME), days));
}

static int
write_time(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    if (PyDateTime_TIME_GET_TZINFO(value) != Py_None) {
        return write_str(sheet, value, position);
    }
    int ms = time_ms(PyDateTime_TIME_GET_HOUR(value), PyDateTime_TIME_GET_MINUTE(value),
                     PyDateTime_TIME_GET_SECOND(value), PyDateTime_TIME_GET_MICROSECOND(value));
    char *at = PUT(put_start(sheet, position), XLSX_TIME);
    return end_number(sheet, put_double(at, (double)ms / DAY_MS));
}

static int
write_timedelta(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    int days = PyDateTime_DELTA_GET_DAYS(value);
    if (days < 0) {
        return write_str(sheet, value, position);
    }
    int64_t ms = (int64_t)days * DAY_MS +
                 time_ms(0, 0, PyDateTime_DELTA_GET_SECONDS(value),
                         PyDateTime_DELTA_GET_MICROSECONDS(value));
    if (ms >> 53) {
        return -1; /* No double: Python divides it rightly. */
    }
    char *at = PUT(put_start(sheet, position), XLSX_DURATION);
    return end_number(sheet, put_double(at, (double)ms / DAY_MS));
}

int
xlsx_is_double(const char *text)
{
    int digits = 0;
    const char *p = *text == '-' ? text + 1 : text;
    for (; Py_ISDIGIT(*p) || *p == '.'; p++) {
        digits += *p != '.' && (digits || *p != '0');
    }
    if (digits == 0) {
        return 1;
    }
    if (digits > 15 || *p == 0) {
        return digits <= 15;
    }
    long exponent = strtol(p + 1, NULL, 10);
    return exponent >= -306 && exponent < 308;
}

static int
write_decimal(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    PyObject *text = PyObject_Str(value);
    if (text == NULL || !PyUnicode_IS_COMPACT_ASCII(text)) {
        Py_XDECREF(text);
        return -1;
    }
    const char *ascii = (const char *)PyUnicode_1BYTE_DATA(text);
    int done;
    if (Py_ISDIGIT(ascii[*ascii == '-']) && xlsx_is_double(ascii)) {
        sheet->out.at = PUT(put_start(sheet, position), XLSX_NUMBER);
        done = buffer_write(&sheet->out, ascii, PyUnicode_GET_LENGTH(text));
        done = done < 0 ? -1 : buffer_write(&sheet->out, XLSX_END, sizeof XLSX_END - 1);
    }
    else {
        done = write_text(sheet, text, position);
    }
    Py_DECREF(text);
    return done;
}

/* A value of a type that all table formats know; 1 if it is another. May be borrowed. */
static int
write_plain(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    const Kernel *kernel = sheet->kernel;
    PyTypeObject *type = Py_TYPE(value);
    if (value == Py_None) {
        return 0;
    }
    if (type == &PyUnicode_Type) {
        return write_text(sheet, value, position);
    }
    if (buffer_reserve(&sheet->out, XLSX_CELL_BYTES) < 0) {
        return -1;
    }
    if (type == &PyLong_Type) {
        return write_long(sheet, value, position);
    }
    if (type == &PyFloat_Type) {
        return write_double(sheet, value, position);
    }
    if (type == &PyBool_Type) {
        return write_bool(sheet, value, position);
    }
    if (type == kernel->datetime) {
        return write_datetime(sheet, value, position);
    }
    if (type == kernel->date) {
        return write_date(sheet, value, position);
    }
    if (type == kernel->decimal) {
        return write_decimal(sheet, value, position);
    }
    if (type == kernel->time) {
        return write_time(sheet, value, position);
    }
    return type == kernel->timedelta ? write_timedelta(sheet, value, position) : 1;
}

static int
write_converted(Sheet *sheet, PyObject *value, Py_ssize_t position)
{
    PyObject *made = rows_convert(sheet->converts, value);
    int done = made == NULL ? -1 : write_plain(sheet, made, position);
    Py_XDECREF(made);
    return done == 0 ? 0 : -1;
}

static int
write_cell(void *loop, PyObject *value, Py_ssize_t position)
{
    int done = write_plain(loop, value, position);
    if (done == 1) {
        Py_INCREF(value);
        done = write_converted(loop, value, position);
        Py_DECREF(value);
    }
    return done;
}

static int
write_row(void *loop, PyObject *row)
{
    Sheet *sheet = loop;
    Buffer *out = &sheet->out;
    if (places_begin_row(&sheet->places, out) < 0 ||
        rows_cells(&sheet->shape, row, sheet, write_cell) < 0) {
        return -1;
    }
    return buffer_write(out, "</row>", 6);
}

static int
read_arguments(Sheet *sheet, PyObject *const *args, Py_ssize_t nargs)
{
    (void)PyDateTimeAPI; /* the header's own, of no use here */
    if (nargs != 4 || !PyDict_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "sheet_rows(number, batch, shape, converts)");
        return -1;
    }
    sheet->converts = args[3];
    if (shape_read(&sheet->shape, args[2]) < 0) {
        return -1;
    }
    return places_begin(&sheet->places, args[0], sheet->shape.width);
}

/* sheet_rows(number, batch, shape, converts) -> bytes, or None where Python must do it. */
PyObject *
kernel_sheet_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Sheet sheet = {.kernel = PyModule_GetState(module)};
    if (read_arguments(&sheet, args, nargs) < 0) {
        return NULL;
    }
    ArrowBatch *columns = arrow_batch_of(sheet.kernel, args[1]);
    if (columns != NULL && arrow_batch_width(columns) == sheet.shape.width) {
        Places places = sheet.places;
        PyObject *bytes = xlsx_columns(columns, sheet.kernel->xlsx, &places);
        if (bytes != Py_None) {
            PyMem_Free(sheet.places.letters);
            return bytes;
        }
        Py_DECREF(bytes);
    }
    int done = rows_write(args[1], &sheet.out, &sheet, write_row);
    PyMem_Free(sheet.places.letters);
    return rows_result(&sheet.out, done);
}
