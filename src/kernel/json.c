#include "json.h"

#include <math.h>

#include "rows.h"

/* Values nested deeper than this are left to Python, which finds those that hold themselves. */
#define MOST_NESTED 100

/* How many names of objects are remembered; rows with more are only slower. */
#define KNOWN_NAMES 64

Escapes *
json_escapes(void)
{
    Escapes *escapes = escapes_new("\"\\", 2, 0x20);
    if (escapes == NULL) {
        return NULL;
    }
    for (int c = 0; c < 0x20; c++) {
        char text[8];
        PyOS_snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
        escapes_add(escapes, (unsigned char)c, text);
    }
    escapes_add(escapes, '"', "\\\"");
    escapes_add(escapes, '\\', "\\\\");
    escapes_add(escapes, '\b', "\\b");
    escapes_add(escapes, '\f', "\\f");
    escapes_add(escapes, '\n', "\\n");
    escapes_add(escapes, '\r', "\\r");
    escapes_add(escapes, '\t', "\\t");
    return escapes;
}

static int
write_byte(Buffer *out, char byte)
{
    if (buffer_reserve(out, 1) < 0) {
        return -1;
    }
    *out->at++ = byte;
    return 0;
}

int
json_write_utf8(Buffer *out, const Escapes *escapes, const char *text, Py_ssize_t size)
{
    if (buffer_reserve(out, size + 2) < 0) {
        return -1;
    }
    char *at = out->at;
    *at = '"';
    int found = copy_and_find(&escapes->special, at + 1, text, size);
    out->at += size + 1;
    if (found && text_escape(out, escapes, at + 1 - out->start) < 0) {
        return -1;
    }
    *out->at++ = '"';
    return 0;
}

static int
write_wide_text(Buffer *out, const Escapes *escapes, PyObject *text)
{
    if (write_byte(out, '"') < 0 || text_write_escaped(out, escapes, text) < 0) {
        return -1;
    }
    return write_byte(out, '"');
}

int
json_write_text(Buffer *out, const Escapes *escapes, PyObject *text)
{
    if (text_ready(text) < 0) {
        return -1;
    }
    if (!PyUnicode_IS_COMPACT_ASCII(text)) {
        return write_wide_text(out, escapes, text);
    }
    return json_write_utf8(out, escapes, (const char *)PyUnicode_1BYTE_DATA(text),
                           PyUnicode_GET_LENGTH(text));
}

/* A name that was written before, and where in the buffer it stands with quotes and colon. */
typedef struct {
    PyObject *name; /* held, so that no other text can take its address */
    Py_ssize_t at;
    Py_ssize_t size;
} Name;

typedef struct {
    const Kernel *kernel;
    Buffer out;
    PyObject *const *marks; /* the bytes before, between and after the rows */
    int started;
    PyObject *as_values; /* type of row -> function that makes a JSON value of it, or None */
    PyObject *as_value;  /* function that does so for a value of any type; both borrowed */
    int named;           /* rows become objects, by the shape */
    Shape shape;
    Name names[KNOWN_NAMES];
} Json;

static int write_value(Json *json, PyObject *value, int depth);

/* What a function of Python gave; takes the reference, which may be NULL. */
static int
write_made(Json *json, PyObject *made, int depth)
{
    int done = made == NULL ? -1 : write_value(json, made, depth);
    Py_XDECREF(made);
    return done;
}

/* Digits that came as text, in quotes or not; takes the reference, which may be NULL. */
static int
write_digits(Json *json, PyObject *text, const char *quote)
{
    Py_ssize_t quotes = (Py_ssize_t)strlen(quote);
    int done = -1;
    if (text != NULL && PyUnicode_IS_COMPACT_ASCII(text)) {
        done = buffer_write(&json->out, quote, quotes);
        done = done < 0 ? -1
                        : buffer_write(&json->out, (const char *)PyUnicode_1BYTE_DATA(text),
                                       PyUnicode_GET_LENGTH(text));
        done = done < 0 ? -1 : buffer_write(&json->out, quote, quotes);
    }
    Py_XDECREF(text);
    return done;
}

static int
write_long(Json *json, PyObject *value)
{
    char *end = put_long(json->out.at, value);
    if (end == NULL) {
        return write_digits(json, PyLong_Type.tp_repr(value), "");
    }
    json->out.at = end;
    return 0;
}

static int
write_double(Json *json, PyObject *value)
{
    double number = PyFloat_AS_DOUBLE(value);
    if (!isfinite(number)) {
        return -1;
    }
    json->out.at = put_double(json->out.at, number);
    return 0;
}

/* Numbers, true, false and null, as values and within quotes as names; 1 if it is another. */
static int
write_constant(Json *json, PyObject *value)
{
    if (PyFloat_Check(value)) {
        return write_double(json, value);
    }
    if (value == Py_None) {
        json->out.at = PUT(json->out.at, "null");
        return 0;
    }
    if (PyBool_Check(value)) {
        json->out.at = value == Py_True ? PUT(json->out.at, "true") : PUT(json->out.at, "false");
        return 0;
    }
    return PyLong_Check(value) ? write_long(json, value) : 1;
}

static int
write_new_name(Json *json, PyObject *name)
{
    Buffer *out = &json->out;
    if (PyUnicode_Check(name)) {
        return json_write_text(out, json->kernel->json, name) < 0 ? -1 : write_byte(out, ':');
    }
    if (write_byte(out, '"') < 0 || buffer_reserve(out, VALUE_BYTES) < 0 ||
        write_constant(json, name) != 0) {
        return -1;
    }
    return buffer_write(out, "\":", 2);
}

/* A name and its colon. The same text object twice is written by copying what stands there. */
static int
write_name(Json *json, PyObject *name)
{
    Buffer *out = &json->out;
    uintptr_t address = (uintptr_t)name >> 4;
    Name *known = &json->names[(address ^ address >> 6) % KNOWN_NAMES];
    if (known->name == name) {
        if (buffer_reserve(out, known->size) < 0) {
            return -1;
        }
        copy_words(out->at, out->start + known->at, known->size);
        out->at += known->size;
        return 0;
    }
    Py_ssize_t at = out->at - out->start;
    if (write_new_name(json, name) < 0) {
        return -1;
    }
    Py_XSETREF(known->name, Py_NewRef(name));
    known->at = at;
    known->size = out->at - out->start - at;
    return 0;
}

/* Members and items end with a comma each, for which the slack of the buffer has room; the last
 * of them gives way to the bracket. */
static int
end_brackets(Json *json, Py_ssize_t count, char bracket)
{
    if (count == 0) {
        return write_byte(&json->out, bracket);
    }
    json->out.at[-1] = bracket;
    return 0;
}

static int
write_member(Json *json, PyObject *name, PyObject *value, int depth)
{
    if (write_name(json, name) < 0 || write_value(json, value, depth) < 0) {
        return -1;
    }
    *json->out.at++ = ',';
    return 0;
}

static int
write_members(Json *json, PyObject *dict, int depth)
{
    PyObject *name, *value;
    Py_ssize_t at = 0, size = PyDict_GET_SIZE(dict);
    while (PyDict_Next(dict, &at, &name, &value)) {
        if (write_member(json, name, value, depth) < 0 || PyDict_GET_SIZE(dict) != size) {
            return -1;
        }
    }
    return 0;
}

static int
write_dict(Json *json, PyObject *dict, int depth)
{
    Py_ssize_t size = PyDict_GET_SIZE(dict);
    if (write_byte(&json->out, '{') < 0) {
        return -1;
    }
    int done;
#if PY_VERSION_HEX >= 0x030D0000
    Py_BEGIN_CRITICAL_SECTION(dict);
    done = write_members(json, dict, depth);
    Py_END_CRITICAL_SECTION();
#else
    done = write_members(json, dict, depth);
#endif
    return done < 0 ? -1 : end_brackets(json, size, '}');
}

/* A subclass of dict is what its items() gives. */
static int
write_items(Json *json, PyObject *mapping, int depth)
{
    PyObject *items = PyDict_GET_SIZE(mapping) ? PyMapping_Items(mapping) : PyList_New(0);
    PyObject *plain = items == NULL ? NULL : PyDict_New();
    int done = plain == NULL ? -1 : PyDict_MergeFromSeq2(plain, items, 1);
    if (done == 0 && PyDict_GET_SIZE(plain) != PyList_GET_SIZE(items)) {
        done = -1;
    }
    done = done < 0 ? -1 : write_dict(json, plain, depth);
    Py_XDECREF(items);
    Py_XDECREF(plain);
    return done;
}

/* `names` is NULL for an array; otherwise a tuple as long as `cells`, for an object. */
static int
write_cells(Json *json, PyObject *cells, PyObject *names, int depth)
{
    if (write_byte(&json->out, names ? '{' : '[') < 0) {
        return -1;
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(cells);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = item_of(cells, i);
        if (value == NULL) {
            return -1;
        }
        int done = names ? write_name(json, PyTuple_GET_ITEM(names, i)) : 0;
        done = done < 0 ? -1 : write_value(json, value, depth);
        item_done(cells, value);
        if (done < 0) {
            return -1;
        }
        *json->out.at++ = ',';
    }
    return end_brackets(json, count, names ? '}' : ']');
}

static int
write_sequence(Json *json, PyObject *sequence, int depth)
{
    PyObject *cells = PySequence_Fast(sequence, "not a sequence");
    int done = cells == NULL ? -1 : write_cells(json, cells, NULL, depth);
    Py_XDECREF(cells);
    return done;
}

/* A date, time or UUID whose text ends at `end` and leaves room for its first quote; 1 if it has
 * no short form. */
static int
write_quoted(Json *json, char *end)
{
    if (end == NULL) {
        return PyErr_Occurred() ? -1 : 1;
    }
    *json->out.at = '"';
    *end = '"';
    json->out.at = end + 1;
    return 0;
}

static int
write_moment(Json *json, PyObject *value, char *end, int depth)
{
    int done = write_quoted(json, end);
    if (done != 1) {
        return done;
    }
    Py_INCREF(value);
    done = write_made(json, PyObject_CallMethodNoArgs(value, json->kernel->str_isoformat), depth);
    Py_DECREF(value);
    return done;
}

static int
write_decimal(Json *json, PyObject *value)
{
    PyObject *text = PyObject_Str(value);
    if (text != NULL) {
        Py_ssize_t size = PyUnicode_GET_LENGTH(text);
        /* NaN, sNaN, Infinity */
        if (PyUnicode_FindChar(text, 'N', 0, size, 1) != -1 ||
            PyUnicode_FindChar(text, 'n', 0, size, 1) != -1) {
            Py_CLEAR(text);
        }
    }
    return write_digits(json, text, "\"");
}

/* Subclasses, as the json module takes them, and all that only Python knows. */
static int
write_subclass(Json *json, PyObject *value, int depth)
{
    if (PyUnicode_Check(value)) {
        return json_write_text(&json->out, json->kernel->json, value);
    }
    int done = write_constant(json, value);
    if (done != 1) {
        return done;
    }
    if (PyList_Check(value) || PyTuple_Check(value)) {
        return write_sequence(json, value, depth);
    }
    if (PyDict_Check(value)) {
        return write_items(json, value, depth);
    }
    return write_made(json, PyObject_CallOneArg(json->as_value, value), depth);
}

/* Values that hold others, or that other code writes; held meanwhile. */
static int
write_other(Json *json, PyObject *value, int depth)
{
    const Kernel *kernel = json->kernel;
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyDict_Type) {
        return write_dict(json, value, depth);
    }
    if (type == &PyList_Type || type == &PyTuple_Type) {
        return write_cells(json, value, NULL, depth);
    }
    if (type == kernel->decimal) {
        return write_decimal(json, value);
    }
    if (type == kernel->uuid) {
        return write_quoted(json, put_uuid_object(kernel, json->out.at + 1, value)) ? -1 : 0;
    }
    return write_subclass(json, value, depth);
}

/* `value` may be borrowed. */
static int
write_value(Json *json, PyObject *value, int depth)
{
    const Kernel *kernel = json->kernel;
    Buffer *out = &json->out;
    PyTypeObject *type = Py_TYPE(value);

    if (type == &PyUnicode_Type) {
        return json_write_text(out, kernel->json, value);
    }
    if (buffer_reserve(out, VALUE_BYTES + 2) < 0 || depth > MOST_NESTED) {
        return -1;
    }
    if (type == &PyLong_Type) {
        return write_long(json, value);
    }
    if (type == &PyFloat_Type) {
        return write_double(json, value);
    }
    if (type == &PyBool_Type || value == Py_None) {
        return write_constant(json, value);
    }
    char *text = out->at + 1;
    if (type == kernel->datetime) {
        return write_moment(json, value, put_datetime_object(kernel, text, value, 'T'), depth);
    }
    if (type == kernel->date) {
        return write_moment(json, value, put_date_object(text, value), depth);
    }
    if (type == kernel->time) {
        return write_moment(json, value, put_time_object(text, value), depth);
    }
    Py_INCREF(value);
    int done = write_other(json, value, depth + 1);
    Py_DECREF(value);
    return done;
}

/* A row without names of its own: as it is, or as the function for its type makes it. */
static int
write_unnamed(Json *json, PyObject *row)
{
    PyTypeObject *type = Py_TYPE(row);
    if (type == &PyDict_Type || type == &PyTuple_Type || type == &PyList_Type) {
        return write_value(json, row, 0);
    }
    Py_INCREF(row);
    int done = write_made(json, rows_convert(json->as_values, row), 0);
    Py_DECREF(row);
    return done;
}

static int
write_named(Json *json, PyObject *row)
{
    PyObject *cells = shape_cut(&json->shape, row);
    int done = cells == NULL ? -1 : write_cells(json, cells, json->shape.names, 0);
    Py_XDECREF(cells);
    return done;
}

static int
write_mark(Json *json, int index)
{
    PyObject *mark = json->marks[index];
    return buffer_write(&json->out, PyBytes_AS_STRING(mark), PyBytes_GET_SIZE(mark));
}

static int
write_row(void *loop, PyObject *row)
{
    Json *json = loop;
    if (write_mark(json, json->started) < 0) {
        return -1;
    }
    json->started = 1;
    return json->named ? write_named(json, row) : write_unnamed(json, row);
}

static int
read_arguments(Json *json, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 7 || !PyDict_Check(args[2]) || !PyBytes_Check(args[4]) || !PyBytes_Check(args[5]) ||
        !PyBytes_Check(args[6])) {
        PyErr_SetString(PyExc_TypeError,
                        "json_rows(batch, shape, as_values, as_value, before, between, after)");
        return -1;
    }
    json->marks = args + 4;
    json->as_values = args[2];
    json->as_value = args[3];
    json->named = args[1] != Py_None;
    if (!json->named) {
        return 0;
    }
    if (shape_read(&json->shape, args[1]) < 0) {
        return -1;
    }
    if (json->shape.names == Py_None) {
        PyErr_SetString(PyExc_ValueError, "rows as objects need names");
        return -1;
    }
    return 0;
}

/* json_rows(batch, shape, as_values, as_value, before, between, after) -> bytes, or None where
 * Python must do it. */
PyObject *
kernel_json_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Json json = {.kernel = PyModule_GetState(module)};
    if (read_arguments(&json, args, nargs) < 0) {
        return NULL;
    }
    ArrowBatch *columns = arrow_batch_of(json.kernel, args[0]);
    if (columns != NULL && json.named && arrow_batch_width(columns) == json.shape.width) {
        PyObject *bytes = json_columns(columns, json.kernel->json, json.shape.names, args + 4);
        if (bytes != Py_None) {
            return bytes;
        }
        Py_DECREF(bytes);
    }
    int done = rows_write(args[0], &json.out, &json, write_row);
    done = done < 0 ? -1 : write_mark(&json, 2);
    for (int i = 0; i < KNOWN_NAMES; i++) {
        Py_XDECREF(json.names[i].name);
    }
    return rows_result(&json.out, done);
}
