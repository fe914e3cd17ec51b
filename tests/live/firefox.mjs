// Drives a Firefox through WebDriver BiDi: commands and answers are lines of JSON.

import { createInterface } from "node:readline"
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"
import { readdirSync } from "node:fs"

const [executablePath, npm, without] = process.argv.slice(2)
const version = readdirSync(npm).find((name) => name.startsWith("puppeteer-core@"))
const require = createRequire(`${npm}/${version}/node_modules/`)
const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")))

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath,
  headless: true,
  timeout: 120_000,
  extraPrefsFirefox: { "javascript.enabled": !without },
})
const page = await browser.newPage()

const until = async (met) => {
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    if (await met().catch(() => false)) return true
    await new Promise((done) => setTimeout(done, 20))
  }
  throw new Error("it did not come to that in 60 s")
}

const commands = {
  open: (url) => void page.goto(url, { timeout: 60_000 }).catch(() => {}),
  wait: (text) => until(() => page.evaluate((text) => document.body.innerText.includes(text), text)),
  at: (place) => until(() => page.evaluate((place) => location.pathname + location.search === place, place)),
  loaded: () => until(() => page.evaluate(() => document.readyState === "complete")),
  run: (code) => page.evaluate(`(${code})()`),
}

for await (const line of createInterface({ input: process.stdin })) {
  const [[name, argument]] = Object.entries(JSON.parse(line))
  let answer
  try {
    answer = { value: (await commands[name](argument)) ?? null }
  } catch (error) {
    answer = { error: String(error) }
  }
  console.log(JSON.stringify(answer))
}
await browser.close()
