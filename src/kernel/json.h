/* JSON values in the bytes of Python's json module, and a batch of rows as such values. */
#ifndef UNSPOOL_JSON_H
#define UNSPOOL_JSON_H

#include "arrow.h"
#include "text.h"
#include "values.h"

/* What JSON escapes; once for each interpreter. NULL with MemoryError. */
Escapes *json_escapes(void);

/* Text in quotes: of Python, or as UTF-8. 0, or -1, without an exception for a lone surrogate. */
int json_write_text(Buffer *out, const Escapes *escapes, PyObject *text);
int json_write_utf8(Buffer *out, const Escapes *escapes, const char *text, Py_ssize_t size);

/* A batch of Arrow columns as objects with these names, which are as many: bytes; None where the
 * rows must be looked at. `marks` are the bytes before, between and after the rows. */
PyObject *json_columns(const ArrowBatch *batch, const Escapes *escapes, PyObject *names,
                       PyObject *const *marks);

#endif
