/* What every file of the kernel shares: its state, and how its functions report.
 *
 * A function that writes gives 0, or -1 if the value is not one the kernel knows, or if
 * something failed; an exception may be set or not. Row loops then give up the whole batch and
 * return None, and the loop in Python does that batch instead: it learns a new type, or finds
 * the row and column at fault. So what a value becomes, and every message, is decided in Python
 * alone.
 *
 * Not the Limited API: compact text and the fields of dates are not in it, and reading them by
 * calls costs more than all the rest (a call for each value, a copy for each text).
 */
#ifndef UNSPOOL_KERNEL_H
#define UNSPOOL_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Calls from file to file need no detour by a table of what others may replace. */
#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

struct Escapes;

/* One for each interpreter; nothing else outlives a call. */
typedef struct {
    struct Escapes *json; /* how special bytes are written, by format */
    struct Escapes *html;
    struct Escapes *xlsx;
    PyTypeObject *date;
    PyTypeObject *datetime;
    PyTypeObject *time;
    PyTypeObject *timedelta;
    PyObject *utc; /* datetime.timezone.utc */
    PyTypeObject *decimal;
    PyTypeObject *uuid;
    PyTypeObject *arrow_stream;
    PyTypeObject *arrow_batch;
    PyObject *str_int;       /* "int" */
    PyObject *str_isoformat; /* "isoformat" */
    PyObject *str_html;      /* "__html__" */
} Kernel;

/* The functions of the module, one file each. */
PyObject *kernel_csv_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernel_json_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernel_html_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *kernel_sheet_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* What a row loop returns when it gives up: None, except for what no loop may swallow, such as
 * KeyboardInterrupt. */
static inline PyObject *
kernel_not_mine(void)
{
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return NULL;
        }
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

#endif
