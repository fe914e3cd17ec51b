// Reads an XLSX file with SheetJS: sheets, each with its name and rows, as JSON on stdout.
// node sheetjs.cjs FOLDER-OF-THE-PACKAGE FILE
const [folder, file] = process.argv.slice(2)
const { readFile, utils } = require(folder)

const book = readFile(file, { cellDates: true, cellNF: true, dense: true })
const sheets = book.SheetNames.map((name) => ({
  name,
  filter: (book.Sheets[name]['!autofilter'] || {}).ref,
  rows: utils.sheet_to_json(book.Sheets[name], { header: 1, raw: true, defval: null, blankrows: true }),
}))
process.stdout.write(JSON.stringify(sheets))
