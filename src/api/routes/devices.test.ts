import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Edge, ids, startEdge } from '../../../test/fixtures/http-edge.ts'
import { basePath } from '../contract/index.ts'

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
})
beforeEach(() => edge.reset())
afterAll(() => edge.stop())

const call = (
  method: string,
  path: string,
  role: 'viewer' | 'operator' | 'administrator',
  body?: object,
) =>
  edge.call(method, basePath + path, {
    headers: { cookie: edge.cookieOf(role) },
    ...(body ? { body } : {}),
  })
const none = '0190a000-0000-4000-8000-00000000dead'

describe('the secrets in a configuration', () => {
  test('are hidden from everybody who does not ask for them as an administrator', async () => {
    for (const path of ['/versions/9', '/versions/9?secrets=masked', '/versions/9/diff']) {
      for (const role of ['viewer', 'operator', 'administrator'] as const) {
        const { status, text } = await call('GET', path, role)
        expect(status).toBe(200)
        expect(text).toContain('hostname edge-1')
        expect(text).not.toContain('topsecret')
      }
    }
    for (const role of ['viewer', 'operator'] as const) {
      const refused = await call('GET', '/versions/9?secrets=plain', role)
      expect(refused.json.error.code).toBe('not-allowed')
      expect(refused.text).not.toContain('topsecret')
    }
    expect((await call('GET', '/versions/9?secrets=plain', 'administrator')).text).toContain(
      'topsecret',
    )
  })

  test('of a credential never leave, nor what the database knows besides', async () => {
    for (const [method, path, body] of [
      ['GET', '/credentials', undefined],
      ['POST', '/credentials', { name: 'x', username: 'y', password: 'topsecret' }],
      ['GET', '/devices', undefined],
      ['GET', `/devices/${ids.device}`, undefined],
    ] as const) {
      const { status, text } = await call(method, path, 'operator', body)
      expect(status).toBe(200)
      expect(text).not.toMatch(/topsecret|never to be told/)
    }
    expect(JSON.stringify(edge.state.audit)).not.toContain('topsecret')
  })
})

describe('a change', () => {
  test('leaves a line that says what was changed', async () => {
    await call('PATCH', `/devices/${ids.device}`, 'operator', { note: 'roof', port: 2222 })
    expect(edge.state.audit).toEqual([
      { action: 'change device', subject: 'edge-1', detail: { note: 'roof', port: 2222 } },
    ])
  })

  test.each([
    ['PATCH', `/devices/${none}`],
    ['DELETE', `/devices/${none}`],
    ['POST', `/devices/${none}/backups`],
    ['DELETE', `/credentials/${none}`],
    ['POST', '/alarms/99/acknowledge'],
  ])('%s %s of what is not there is not found, and leaves no line', async (method, path) => {
    const reply = await call(method, path, 'operator', {})
    expect(reply).toMatchObject({ status: 404, json: { error: { code: 'not-found' } } })
    expect(edge.state.audit).toEqual([])
  })

  test('to a driver that there is not, or a credential without a secret, is refused', async () => {
    const driver = await call('PATCH', `/devices/${ids.device}`, 'operator', { driver: 'vax' })
    expect(driver.json.error.message).toContain('cisco-ios')
    const bare = await call('POST', '/credentials', 'operator', { name: 'x', username: 'y' })
    expect(bare.json.error.message).toContain('a password, a private key, or both')
  })
})

test('versions and their diffs that there are not are not found', async () => {
  for (const path of ['/versions/8', '/versions/8/diff', '/versions/9/diff?against=8']) {
    expect((await call('GET', path, 'viewer')).status).toBe(404)
  }
})
