/* Cells of HTML tables. */
#ifndef UNSPOOL_HTML_H
#define UNSPOOL_HTML_H

#include "text.h"

/* What HTML escapes, as markupsafe does; U+0000 cannot be written. NULL with MemoryError. */
Escapes *html_escapes(void);

#endif
