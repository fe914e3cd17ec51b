/* Cells of XLSX sheets. unspool/formats/xlsx_rows.py says what becomes of each value. */
#ifndef UNSPOOL_XLSX_H
#define UNSPOOL_XLSX_H

#include "text.h"

/* The bytes that need a look in the text of a cell. NULL with MemoryError. */
Escapes *xlsx_escapes(void);

/* Escapes the text that was written from offset `from` on, as UTF-8. 0, or -1 with MemoryError. */
int xlsx_escape(Buffer *out, const Escapes *escapes, Py_ssize_t from);

/* How a value is written: behind the place of its cell come style and type. */
#define XLSX_NUMBER "><v>"
#define XLSX_DATE " s=\"2\"><v>"
#define XLSX_DATETIME " s=\"3\"><v>"
#define XLSX_TIME " s=\"4\"><v>"
#define XLSX_DURATION " s=\"5\"><v>"
#define XLSX_BOOL " t=\"b\"><v>"
#define XLSX_END "</v></c>"
#define XLSX_TEXT " t=\"inlineStr\"><is><t>"
#define XLSX_SPACED " t=\"inlineStr\"><is><t xml:space=\"preserve\">"
#define XLSX_TEXT_END "</t></is></c>"

/* Excel computes with 15 digits; longer numbers are written as text. */
#define XLSX_MOST_INT 999999999999999

/* Texts of more characters may have too many UTF-16 units: Python counts them. */
#define XLSX_SURE_CHARACTERS 16383

/* Days between 0001-01-01, which is 1, and day 0 of a sheet, 1899-12-30; and the first day that
 * all readers take alike, 1900-03-01. */
#define XLSX_EPOCH_DAY 693594
#define XLSX_FIRST_DAY 61

#define DAY_MS 86400000

/* Days since 0001-01-01, which is 1: Python's toordinal(). */
int xlsx_ordinal(int year, int month, int day);

#endif
