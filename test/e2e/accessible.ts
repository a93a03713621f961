import type { Page } from 'playwright-core'

const controls = 'main :is(a[href], button, input, select, textarea, summary, [role=button])'

/** Controls of the page that say nothing to whoever does not see them. */
export async function namelessControls(page: Page): Promise<string[]> {
  const found: string[] = []
  for (const control of await page.locator(`${controls}:visible`).all()) {
    const snapshot = await control.ariaSnapshot()
    // `- button "Save"`, `- textbox "User": admin`; without a name there is nothing in quotes.
    if (!/^- '?[a-z]+ "/.test(snapshot) && !/^- [a-z]+: \S/.test(snapshot)) {
      found.push(await control.evaluate(element => element.outerHTML.slice(0, 200)))
    }
  }
  return found
}

/** Controls that the key Tab does not come to; of a group of radio buttons it comes to one. */
export async function missedByTab(page: Page): Promise<string[]> {
  const wanted = page.locator(`${controls}:visible:not([tabindex="-1"], :disabled, [type=radio])`)
  await wanted.evaluateAll(all => {
    for (const [index, element] of all.entries())
      element.setAttribute('data-tab-test', String(index))
  })
  const count = await wanted.count()
  const reached = new Set<string>()
  await page.evaluate('document.activeElement.blur()')
  for (let presses = 0; presses < count + 60 && reached.size < count; presses++) {
    await page.keyboard.press('Tab')
    const mark = await page.evaluate("document.activeElement.getAttribute('data-tab-test')")
    if (typeof mark === 'string') reached.add(mark)
  }
  const missed = await wanted.evaluateAll(all =>
    all.map(element => [element.getAttribute('data-tab-test'), element.outerHTML.slice(0, 200)]),
  )
  return missed.filter(([mark]) => !reached.has(mark!)).map(([, html]) => html!)
}
