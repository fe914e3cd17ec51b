/* Cells of HTML tables. */
#ifndef UNSPOOL_HTML_H
#define UNSPOOL_HTML_H

#include "arrow.h"
#include "text.h"

/* What HTML escapes, as markupsafe does; U+0000 cannot be written. NULL with MemoryError. */
Escapes *html_escapes(void);

/* A batch of Arrow columns as table rows: bytes; None where the rows must be looked at. */
PyObject *html_columns(const ArrowBatch *batch, const Escapes *escapes);

#endif
