// Reads an XLSX file with exceljs: sheets, each with its name and rows, as JSON on stdout.
// node exceljs.cjs FOLDER-OF-THE-PACKAGE FILE
const [folder, file] = process.argv.slice(2)
const { Workbook } = require(folder)

const book = new Workbook()
book.xlsx.readFile(file).then(() => {
  const sheets = book.worksheets.map((sheet) => {
    const rows = []
    sheet.eachRow({ includeEmpty: true }, (row) => {
      const cells = []
      for (let at = 1; at <= sheet.columnCount; at++) cells.push(row.getCell(at).value)
      rows.push(cells)
    })
    const frozen = (sheet.views[0] || {}).ySplit
    return { name: sheet.name, filter: sheet.autoFilter, frozen, bold: !!(sheet.getCell('A1').font || {}).bold, rows }
  })
  process.stdout.write(JSON.stringify(sheets))
})
