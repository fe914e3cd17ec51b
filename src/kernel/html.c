#include "html.h"

#include "rows.h"
#include "values.h"

Escapes *
html_escapes(void)
{
    Escapes *escapes = escapes_new("&<>'\"", 5, 1);
    if (escapes == NULL) {
        return NULL;
    }
    escapes_add(escapes, '&', "&amp;");
    escapes_add(escapes, '<', "&lt;");
    escapes_add(escapes, '>', "&gt;");
    escapes_add(escapes, '\'', "&#39;");
    escapes_add(escapes, '"', "&#34;");
    return escapes;
}

typedef struct {
    const Kernel *kernel;
    Shape shape;
    Buffer out;
    PyObject *converts; /* type -> function that makes a plain value, or None; borrowed */
} Html;

/* Text that a function gave; takes the reference, which may be NULL. */
static int
write_made_text(Html *html, PyObject *text)
{
    int done = text == NULL ? -1 : text_write_escaped(&html->out, html->kernel->html, text);
    Py_XDECREF(text);
    return done;
}

/* The str() of what __html__() gives, as it is, but for U+0000. */
static int
write_html(Html *html, PyObject *value)
{
    PyObject *given = PyObject_CallMethodNoArgs(value, html->kernel->str_html);
    PyObject *text = given == NULL ? NULL : PyObject_Str(given);
    Py_XDECREF(given);
    int done = -1;
    if (text != NULL && text_ready(text) == 0 &&
        PyUnicode_FindChar(text, 0, 0, PyUnicode_GET_LENGTH(text), 1) == -1) {
        done = text_write(&html->out, text);
    }
    Py_XDECREF(text);
    return done;
}

/* Text, None, or a value of a type that all table formats know; 1 if it is another. */
static int
write_plain(Html *html, PyObject *value)
{
    Buffer *out = &html->out;
    if (Py_TYPE(value) == &PyUnicode_Type) {
        return text_write_escaped(out, html->kernel->html, value);
    }
    if (value == Py_None) {
        return 0;
    }
    if (buffer_reserve(out, VALUE_BYTES) < 0) {
        return -1;
    }
    char *end = put_plain_object(html->kernel, out->at, value);
    if (end == NULL) {
        return 1;
    }
    out->at = end;
    return 0;
}

/* A value that other code writes; held meanwhile. */
static int
write_other(Html *html, PyObject *value)
{
    PyObject *text = plain_str(html->kernel, value);
    if (text != NULL || PyErr_Occurred()) {
        return write_made_text(html, text);
    }
    PyObject *made = rows_convert(html->converts, value);
    if (made == NULL) {
        return -1;
    }
    int done = made == value ? write_html(html, value) : write_plain(html, made);
    if (done == 1) {
        done = write_made_text(html, plain_str(html->kernel, made));
    }
    Py_DECREF(made);
    return done;
}

static int
write_value(Html *html, PyObject *value)
{
    int done = write_plain(html, value);
    if (done == 1) {
        Py_INCREF(value);
        done = write_other(html, value);
        Py_DECREF(value);
    }
    return done;
}

static int
write_cell(void *loop, PyObject *value, Py_ssize_t position)
{
    Html *html = loop;
    (void)position;
    if (buffer_write(&html->out, "<td>", 4) < 0 || write_value(html, value) < 0) {
        return -1;
    }
    return buffer_write(&html->out, "</td>", 5);
}

static int
write_row(void *loop, PyObject *row)
{
    Html *html = loop;
    if (buffer_write(&html->out, "<tr>", 4) < 0 ||
        rows_cells(&html->shape, row, html, write_cell) < 0) {
        return -1;
    }
    return buffer_write(&html->out, "</tr>\n", 6);
}

/* html_rows(batch, shape, converts) -> bytes, or None where Python must do it. */
PyObject *
kernel_html_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Html html = {.kernel = PyModule_GetState(module)};
    if (nargs != 3 || !PyDict_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "html_rows(batch, shape, converts)");
        return NULL;
    }
    html.converts = args[2];
    if (shape_read(&html.shape, args[1]) < 0) {
        return NULL;
    }
    ArrowBatch *columns = arrow_batch_of(html.kernel, args[0]);
    if (columns != NULL && arrow_batch_width(columns) == html.shape.width) {
        PyObject *bytes = html_columns(columns, html.kernel->html);
        if (bytes != Py_None) {
            return bytes;
        }
        Py_DECREF(bytes);
    }
    return rows_result(&html.out, rows_write(args[0], &html.out, &html, write_row));
}
