/**
 * Failover as a person has it in the console, in a real browser on a whole deployment. The second
 * server's console has another host name, whose cookies the first one's page cannot set.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { missedByTab, namelessControls } from './accessible.ts'
import { logInFirst, noBrowser, openBrowser } from './browser.ts'
import { startDeployment, type TestDeployment } from './deployment.ts'

const because = noBrowser === undefined ? '' : `: ${noBrowser}`
const password = 'a long new password'
const soon = { timeout: 30_000 }

describe.skipIf(noBrowser)(`failover in the console${because}`, () => {
  let deployment: TestDeployment
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let first: string
  let second: string
  /** What pages threw or logged as an error, save refused requests, which browsers always log. */
  const faults: string[] = []

  beforeAll(async () => {
    deployment = await startDeployment()
    const [a, b] = deployment.summary.servers
    first = a!.url
    second = b!.url.replace('127.0.0.1', 'localhost')
    await renameConsole(b!.name, second)
    browser = await openBrowser()
    context = await browser.newContext()
    page = await context.newPage()
    page.on('pageerror', error => faults.push(error.message))
    page.on('console', message => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) {
        faults.push(message.text())
      }
    })
    const { user, password: firstPassword } = deployment.summary.admin
    await logInFirst(page, first, { user, password: firstPassword! }, password)
  }, 240_000)
  afterAll(async () => {
    await browser?.close()
    await deployment?.stop()
    deployment?.remove()
  }, 120_000)
  beforeEach(async () => {
    const { name } = await deployment.untilActive()
    await page.goto(`${name === 'server-a' ? first : second}/failover`)
  })
  afterEach(() => expect(faults.splice(0)).toEqual([]))

  /** The server starts again, known by another console address. */
  async function renameConsole(name: string, url: string) {
    const file = join(deployment.dataDir, `${name}.yaml`)
    const settings = parse(readFileSync(file, 'utf8')) as { console: object }
    writeFileSync(file, stringify({ ...settings, console: { ...settings.console, url } }))
    process.kill(await deployment.pidOf(name), 'SIGTERM')
    await standbyKnown(url)
  }

  async function standbyKnown(console: string) {
    const deadline = performance.now() + 120_000
    for (;;) {
      const pair = await deployment.call<{ servers: { role: string; console: string }[] }>(
        first,
        'GET',
        '/pair',
      )
      const other = pair.servers.find(server => server.console.startsWith(console))
      if (other?.role === 'standby') return
      if (performance.now() > deadline) throw new Error(`no standby: ${JSON.stringify(pair)}`)
      await sleep(200)
    }
  }

  test('the form says what would be right, saves what is, and makes the line for the second machine', async () => {
    await page.getByTestId('nav-settings').click()
    await page.getByText('General', { exact: true }).click()
    await page.getByTestId('secondary').fill('kw 2')
    await page.getByRole('radio', { name: 'Virtual IP' }).check()
    await page.getByTestId('address-0').fill('192.0.2.10')
    await page.getByTestId('prefix-0').fill('255.0.255.0')
    await page.getByTestId('settings-save').click()
    await page.getByText('A host name like kw2.example.net').waitFor(soon)
    await page.getByText('not a netmask').waitFor(soon)

    await page.getByTestId('secondary').fill('kw2.example.net')
    await page.getByRole('radio', { name: 'None' }).check()
    await page.getByTestId('recipients').fill('ann@example.net, ops@example.net')
    await page.getByTestId('mail-from').fill('keepwatch@example.net')
    await page.getByTestId('mail-host').fill('127.0.0.1')
    await page.getByTestId('mail-port').fill('9')
    await page.getByTestId('smtpPassword').fill('never shown again')
    await page.getByTestId('settings-save').click()
    await page.getByText('changed by admin').waitFor(soon)
    await page.getByText('One is kept; empty leaves it as it is').waitFor(soon)
    const stored = await deployment.call<{ settings: object; secrets: object }>(
      first,
      'GET',
      '/pair/settings',
    )
    expect(stored).toMatchObject({
      settings: {
        secondary: 'kw2.example.net',
        connection: { type: 'none' },
        mail: { recipients: ['ann@example.net', 'ops@example.net'], port: 9 },
      },
      secrets: { smtpPassword: true },
    })
    expect(JSON.stringify(stored)).not.toContain('never shown again')

    await page.getByTestId('enable').click()
    const line = page.getByTestId('join-line')
    await line.waitFor(soon)
    expect(await line.textContent()).toMatch(
      /^keepwatch join http:\/\/127\.0\.0\.1:\d+ --token \S+$/,
    )
    await page.getByText('Good once, until').waitFor(soon)
  }, 90_000)

  test('a change by somebody else meanwhile is shown, and not overwritten unasked', async () => {
    await page.goto(`${first}/settings?tab=general`)
    await page.getByTestId('secondary').fill('mine.example.net')
    const { settings, version } = await deployment.call<{ settings: object; version: number }>(
      first,
      'GET',
      '/pair/settings',
    )
    const theirs = { ...settings, secondary: 'theirs.example.net' }
    await deployment.call(first, 'PUT', '/pair/settings', { settings: theirs, version })
    await page.getByTestId('settings-save').click()
    await page.getByTestId('overtaken').waitFor(soon)
    await page.getByRole('button', { name: 'Take theirs' }).click()
    await expect
      .poll(() => page.getByTestId('secondary').inputValue(), soon)
      .toBe('theirs.example.net')
  }, 60_000)

  test('the prerequisites are checked, the failures with what to do', async () => {
    await page.goto(`${first}/settings?tab=general`)
    await page.getByTestId('preflight-start').click()
    const failure = page.locator('[data-testid=preflight] [data-result=failure]').first()
    await failure.waitFor({ timeout: 60_000 })
    expect(await failure.textContent()).toContain('Database on neither server')
    expect(await failure.textContent()).toContain('move the database to a machine of its own')
  }, 90_000)

  test('takeovers are paused with a reason, which every page shows, and resumed', async () => {
    await page.getByTestId('pause').click()
    await page.getByTestId('pause-save').click()
    await page.getByText('Say why').waitFor(soon)
    await page.getByTestId('pause-reason').fill('new switch in rack 4')
    await page.getByTestId('pause-save').click()
    const banner = page.getByTestId('paused-banner')
    await banner.waitFor(soon)
    expect(await banner.textContent()).toContain('paused by admin: new switch in rack 4')
    await page.getByTestId('nav-devices').click()
    await banner.waitFor(soon)
    await banner.getByTestId('resume').click()
    await banner.waitFor({ state: 'detached', ...soon })
  }, 60_000)

  test('a drill is followed to the other server and back, without a log-in, and has its report', async () => {
    const visited: string[] = []
    page.on('framenavigated', frame => visited.push(frame.url()))
    await page.getByTestId('drill').click()
    await page.getByTestId('confirm').click()
    const report = page.getByTestId('operation-report')
    await expect.poll(() => new URL(page.url()).origin, { timeout: 60_000 }).toBe(second)
    await page.getByTestId('active-server').filter({ hasText: 'server-b' }).waitFor(soon)
    expect(await page.getByTestId('login-user').count()).toBe(0)
    await report.filter({ hasText: /there .+, back / }).waitFor({ timeout: 90_000 })
    await expect.poll(() => new URL(page.url()).origin, { timeout: 60_000 }).toBe(first)
    await page.getByTestId('active-server').filter({ hasText: 'server-a' }).waitFor(soon)
    // What was in the address is not left there for others to use.
    expect(visited.some(url => url.includes('#hand-over='))).toBe(true)
    expect(page.url()).not.toContain('hand-over')

    await page.getByText('Drills and checks', { exact: true }).click()
    await page
      .getByTestId('operations-table')
      .getByText(/there .+, back /)
      .waitFor(soon)
    await page.getByText('Notices', { exact: true }).click()
    const notices = page.getByTestId('notices-table')
    await notices.getByText('ops@example.net').first().waitFor(soon)
    expect(await notices.textContent()).toMatch(/server-b took over from server-a/)
    await page.goto(`${first}/failover`)
    const history = page.getByTestId('history-table')
    await history.getByText('switchover').first().waitFor(soon)
    await page.getByText('Trouble', { exact: true }).click()
    await page.getByText('None of those that are loaded').waitFor(soon)
  }, 240_000)

  test('when the active is killed, the page goes on at the other server, logged in', async () => {
    await standbyKnown(second)
    // Longer than until the first code is there.
    await expect
      .poll(
        async () => (await page.getByTestId('heartbeats').getAttribute('data-marks')) ?? '0',
        soon,
      )
      .not.toBe('0')
    process.kill(await deployment.pidOf('server-a'), 'SIGKILL')
    await expect.poll(() => new URL(page.url()).origin, { timeout: 60_000 }).toBe(second)
    await page.getByTestId('active-server').filter({ hasText: 'server-b' }).waitFor(soon)
    expect(await page.getByTestId('login-user').count()).toBe(0)
  }, 120_000)

  test('a standby opened on purpose shows itself, and its buttons lead to the active', async () => {
    const active = await deployment.untilActive()
    expect(active.name).toBe('server-b')
    await expect
      .poll(() => fetch(`${first}/active`).then(response => response.json(), String), {
        timeout: 60_000,
      })
      .toMatchObject({ role: 'standby' })
    await page.goto(`${first}/failover?here`)
    await page.getByTestId('standby-banner').waitFor(soon)
    expect(new URL(page.url()).origin).toBe(first)
    await page.getByTestId('nav-logs').click()
    await page.reload()
    await page.getByTestId('standby-banner').waitFor(soon)
    await page.getByTestId('nav-failover').click()
    await page.getByTestId('pause').click()
    await expect.poll(() => page.url(), soon).toMatch(`${second}/failover`)
    await page.getByTestId('pause').waitFor(soon)
    expect(await page.getByTestId('login-user').count()).toBe(0)
  }, 120_000)

  test('everything has a name and is reached by the keyboard', async () => {
    const { url } = await deployment.untilActive()
    for (const path of ['/failover', '/failover?list=notices', '/settings?tab=general', '/']) {
      await page.goto(`${url.replace('127.0.0.1', 'localhost')}${path}`)
      await page.getByTestId('active-server').waitFor(soon)
      await page
        .locator('main [aria-busy]')
        .first()
        .waitFor({ state: 'detached', ...soon })
      expect(await namelessControls(page), path).toEqual([])
      expect(await missedByTab(page), path).toEqual([])
    }
  }, 120_000)
})
