/* unspool._kernel: the row loops of unspool.formats in C. See kernel.h for what they promise. */
#include "arrow.h"
#include "html.h"
#include "json.h"
#include "xlsx.h"

#include <datetime.h>

static PyObject *
type_of(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *type = imported == NULL ? NULL : PyObject_GetAttrString(imported, name);
    Py_XDECREF(imported);
    if (type != NULL && !PyType_Check(type)) {
        PyErr_Format(PyExc_TypeError, "%s.%s is no type", module, name);
        Py_CLEAR(type);
    }
    return type;
}

/* A type of the module's own, which Python code may see as its attribute. */
static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

static int
kernel_exec(PyObject *module)
{
    Kernel *kernel = PyModule_GetState(module);
    PyDateTime_IMPORT;
    if (PyDateTimeAPI == NULL) {
        /* Isolated interpreters of Python 3.12 have only the datetime module in Python. */
        PyErr_Clear();
        PyErr_SetString(PyExc_ImportError, "datetime has no C interface here");
        return -1;
    }
    kernel->date = (PyTypeObject *)Py_NewRef(PyDateTimeAPI->DateType);
    kernel->datetime = (PyTypeObject *)Py_NewRef(PyDateTimeAPI->DateTimeType);
    kernel->time = (PyTypeObject *)Py_NewRef(PyDateTimeAPI->TimeType);
    kernel->timedelta = (PyTypeObject *)Py_NewRef(PyDateTimeAPI->DeltaType);
    kernel->utc = Py_NewRef(PyDateTimeAPI->TimeZone_UTC);
    kernel->decimal = (PyTypeObject *)type_of("decimal", "Decimal");
    kernel->uuid = (PyTypeObject *)type_of("uuid", "UUID");
    kernel->arrow_stream = add_type(module, &arrow_stream_spec);
    kernel->arrow_batch = add_type(module, &arrow_batch_spec);
    kernel->str_int = PyUnicode_InternFromString("int");
    kernel->str_isoformat = PyUnicode_InternFromString("isoformat");
    kernel->str_html = PyUnicode_InternFromString("__html__");
    kernel->json = json_escapes();
    kernel->html = html_escapes();
    kernel->xlsx = xlsx_escapes();
    return PyErr_Occurred() ? -1 : 0;
}

static int
kernel_traverse(PyObject *module, visitproc visit, void *arg)
{
    Kernel *kernel = PyModule_GetState(module);
    Py_VISIT(kernel->date);
    Py_VISIT(kernel->datetime);
    Py_VISIT(kernel->time);
    Py_VISIT(kernel->timedelta);
    Py_VISIT(kernel->utc);
    Py_VISIT(kernel->decimal);
    Py_VISIT(kernel->uuid);
    Py_VISIT(kernel->arrow_stream);
    Py_VISIT(kernel->arrow_batch);
    return 0;
}

static int
kernel_clear(PyObject *module)
{
    Kernel *kernel = PyModule_GetState(module);
    Py_CLEAR(kernel->date);
    Py_CLEAR(kernel->datetime);
    Py_CLEAR(kernel->time);
    Py_CLEAR(kernel->timedelta);
    Py_CLEAR(kernel->utc);
    Py_CLEAR(kernel->decimal);
    Py_CLEAR(kernel->uuid);
    Py_CLEAR(kernel->arrow_stream);
    Py_CLEAR(kernel->arrow_batch);
    Py_CLEAR(kernel->str_int);
    Py_CLEAR(kernel->str_isoformat);
    Py_CLEAR(kernel->str_html);
    return 0;
}

static void
kernel_free(void *module)
{
    Kernel *kernel = PyModule_GetState(module);
    PyMem_Free(kernel->json);
    PyMem_Free(kernel->html);
    PyMem_Free(kernel->xlsx);
    kernel_clear(module);
}

static PyMethodDef methods[] = {
    {"csv_rows", (PyCFunction)(void (*)(void))kernel_csv_rows, METH_FASTCALL,
     "csv_rows(batch, shape, dialect, converts)\n--\n\n"
     "The rows as CSV lines, or None if the loop in Python must do them."},
    {"json_rows", (PyCFunction)(void (*)(void))kernel_json_rows, METH_FASTCALL,
     "json_rows(batch, shape, as_values, as_value, before, between, after)\n--\n\n"
     "The rows as JSON values, or None if the loop in Python must do them."},
    {"html_rows", (PyCFunction)(void (*)(void))kernel_html_rows, METH_FASTCALL,
     "html_rows(batch, shape, converts)\n--\n\n"
     "The rows as HTML, or None if the loop in Python must do them."},
    {"sheet_rows", (PyCFunction)(void (*)(void))kernel_sheet_rows, METH_FASTCALL,
     "sheet_rows(number, batch, shape, converts)\n--\n\n"
     "The rows as XML of a sheet, or None if the loop in Python must do them."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, kernel_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "unspool._kernel",
    .m_doc = "The row loops of unspool.formats in C.",
    .m_size = sizeof(Kernel),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = kernel_traverse,
    .m_clear = kernel_clear,
    .m_free = kernel_free,
};

PyMODINIT_FUNC
PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
