/** What a real browser makes of the session's cookie and of the rules about origins. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { noBrowser, openBrowser } from '../e2e/browser.ts'
import { type Edge, password, startEdge } from '../fixtures/http-edge.ts'

const because = noBrowser === undefined ? '' : `: ${noBrowser}`

describe.skipIf(noBrowser)(`in Chromium${because}`, () => {
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let one: Edge
  let two: Edge
  let elsewhere: Server

  beforeAll(async () => {
    browser = await openBrowser()
    one = await startEdge({ origins: () => [one.url, two.url] })
    two = await startEdge({ origins: () => [one.url, two.url] })
    elsewhere = createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>elsewhere</title>')
    }).listen(0)
    await once(elsewhere, 'listening')
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await one.stop()
    await two.stop()
    elsewhere.closeAllConnections()
    elsewhere.close()
  })
  beforeEach(async () => {
    one.reset()
    two.reset()
    context = await browser.newContext()
    page = await context.newPage()
  })
  afterEach(() => context.close())

  /** What a page's script gets; the error's name if it gets nothing. */
  function fetched(url: string, method: string, body?: string, type?: string, mode?: 'no-cors') {
    return page.evaluate(
      async ([address, verb, text, contentType, how]) => {
        try {
          const response = await fetch(address!, {
            method: verb!,
            credentials: 'include',
            ...(how ? { mode: how } : {}),
            ...(text ? { body: text } : {}),
            ...(contentType ? { headers: { 'content-type': contentType } } : {}),
          })
          return { status: response.status, text: await response.text() }
        } catch (error) {
          return { status: 0, text: (error as Error).name }
        }
      },
      [url, method, body, type, mode] as const,
    )
  }

  const logIn = (edge: Edge) =>
    fetched(
      `${edge.url}/api/v1/session`,
      'POST',
      JSON.stringify({ user: 'administrator', password }),
      'application/json',
    )
  const who = (edge: Edge) => fetched(`${edge.url}/api/v1/session`, 'GET')
  const tokens = (edge: Edge) => `${edge.url}/api/v1/tokens`
  const newToken = JSON.stringify({ name: 'x', role: 'administrator' })

  test('the secure cookie is kept over plain HTTP on the loopback address, out of reach of scripts', async () => {
    await page.goto(`${one.url}/healthz`)
    expect((await logIn(one)).status).toBe(200)
    expect((await who(one)).status).toBe(200)
    expect(await page.evaluate('document.cookie')).toBe('')
    expect(await context.cookies()).toMatchObject([
      { name: 'keepwatch', secure: true, httpOnly: true, sameSite: 'Strict', path: '/' },
    ])
    expect((await fetched(`${one.url}/api/v1/session`, 'DELETE')).status).toBe(200)
    expect(await context.cookies()).toEqual([])
  })

  test('a page of one server works on the other one of the pair', async () => {
    await page.goto(`${one.url}/healthz`)
    expect((await logIn(two)).status).toBe(200)
    expect((await who(two)).status).toBe(200)
    const made = await fetched(tokens(two), 'POST', newToken, 'application/json')
    expect(made.status).toBe(200)
    expect(two.state.audit).toHaveLength(1)
  })

  test.each(['127.0.0.1', 'localhost'])(
    'a page of another program on %s neither reads nor changes anything',
    async host => {
      await page.goto(`${one.url}/healthz`)
      await logIn(one)
      await page.goto(`http://${host}:${(elsewhere.address() as AddressInfo).port}/`)
      expect(await who(one)).toEqual({ status: 0, text: 'TypeError' })
      for (const [type, mode] of [
        ['application/json', undefined],
        ['text/plain', undefined],
        ['text/plain', 'no-cors'],
      ] as const) {
        const reply = await fetched(tokens(one), 'POST', newToken, type, mode)
        expect(reply.text).not.toContain('secret')
      }
      for (const [action, enctype] of [
        [tokens(one), 'text/plain'],
        [`${one.url}/api/v1/pair/switchover`, 'application/x-www-form-urlencoded'],
      ]) {
        const [response] = await Promise.all([
          page.waitForNavigation(),
          page.evaluate(`{
            const form = document.createElement('form')
            Object.assign(form, ${JSON.stringify({ action, enctype, method: 'POST' })})
            document.body.append(form)
            form.submit()
          }`),
        ])
        expect(response!.status()).toBe(403)
        await page.goBack()
      }
      expect(one.state.audit).toEqual([])
    },
  )

  test('no page of another program shows the console in a frame', async () => {
    await page.goto(`http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`)
    const refused = page.waitForEvent('console', message => /frame|refused/i.test(message.text()))
    await page.evaluate(`{
      const frame = document.createElement('iframe')
      frame.src = '${one.url}/healthz'
      document.body.append(frame)
    }`)
    expect((await refused).text()).toMatch(/frame-ancestors|X-Frame-Options/i)
  })
})
