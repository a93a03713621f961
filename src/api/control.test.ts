import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Edge, otherConsole, startEdge } from '../../test/fixtures/http-edge.ts'
import type { Component } from '../lib/component.ts'
import { controlUser, createControl, withSocket } from './control.ts'
import type { ForwardedRequest } from './http.ts'

let folder: string
let path: string
let edge: Edge
let control: Component
let forwarded: ForwardedRequest[]
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-control-'))
  path = join(folder, 'data', 'control.sock')
  forwarded = []
  edge = await startEdge({
    async forward(asked) {
      forwarded.push(asked)
      return { status: 200, body: { from: 'the active' } }
    },
  })
  control = createControl({ answer: edge.answer }, { path, host: 'kw1' })
  await control.start()
})
afterEach(async () => {
  await control.stop()
  await edge.stop()
  rmSync(folder, { recursive: true })
})

function ask(method: string, url: string, body?: object, headers: Record<string, string> = {}) {
  return withSocket(
    path,
    socketPath =>
      new Promise<{ status: number; json: Record<string, unknown> }>((resolve, reject) => {
        const text = body === undefined ? undefined : JSON.stringify(body)
        const asking = request({
          ...{ socketPath, method, path: `/api/v1${url}`, agent: false },
          headers: {
            ...(text === undefined ? {} : { 'content-type': 'application/json' }),
            ...headers,
          },
        })
        asking.on('error', reject)
        asking.on('response', response => {
          let said = ''
          response.on('data', chunk => {
            said += chunk
          })
          response.on('end', () =>
            resolve({ status: response.statusCode!, json: JSON.parse(said) }),
          )
        })
        asking.end(text)
      }),
  )
}

test('only the owner can open the socket, which lies in a folder of his own', () => {
  expect((statSync(path).mode & 0o777).toString(8)).toBe('600')
  expect((statSync(join(folder, 'data')).mode & 0o777).toString(8)).toBe('700')
})

test('who can open it is an administrator, and needs no token', async () => {
  expect(await ask('GET', '/session')).toMatchObject({
    status: 200,
    json: { role: 'administrator', user: expect.stringMatching(/@kw1$/) },
  })
  const token = { name: 'grafana', role: 'viewer' }
  expect((await ask('POST', '/tokens', token, { [controlUser]: 'ann' })).status).toBe(200)
  expect(edge.state.audit).toMatchObject([{ action: 'create token', subject: 'grafana' }])
})

test('he is named as he says, if that is a name', async () => {
  const named = async (name: string) =>
    (await ask('GET', '/session', undefined, { [controlUser]: name })).json.user
  expect(await named('ann')).toBe('ann@kw1')
  expect(await named('an n\u00e9')).toMatch(/^[\w-]+@kw1$/)
  expect(await named('x'.repeat(100))).toMatch(/^[\w-]+@kw1$/)
})

test('he has no password to change', async () => {
  const reply = await ask('POST', '/session/password', {
    current: 'a first password',
    next: 'quite another one',
  })
  expect(reply.json).toMatchObject({ error: { code: 'not-allowed' } })
})

test('on a standby a change is sent on to the active, and its answer is the answer', async () => {
  edge.pair.role = 'standby'
  const body = { reason: 'new cables' }
  expect(await ask('POST', '/pair/pause', body, { [controlUser]: 'ann' })).toEqual({
    status: 200,
    json: { from: 'the active' },
  })
  expect(forwarded).toEqual([
    { method: 'POST', url: '/api/v1/pair/pause', body, caller: 'ann@kw1' },
  ])
  // What can be read is read here.
  expect((await ask('GET', '/devices')).status).toBe(200)
  expect(forwarded).toHaveLength(1)
})

test('by the port of a standby nothing is sent on', async () => {
  edge.pair.role = 'standby'
  const headers = { authorization: edge.tokenOf('administrator') }
  const reply = await edge.call('POST', '/api/v1/pair/resume', { headers })
  expect(reply.json.error).toMatchObject({ code: 'not-active', active: otherConsole })
  expect(forwarded).toEqual([])
})

test('what a crash left behind is replaced; two servers on one data folder are refused', async () => {
  await expect(createControl({ answer: edge.answer }, { path }).start()).rejects.toThrow(
    /two servers must not share a data folder/,
  )
  expect((await ask('GET', '/session')).status).toBe(200)
  await control.stop()
  expect(existsSync(path)).toBe(false)
  writeFileSync(path, '')
  await control.start()
  expect((await ask('GET', '/session')).status).toBe(200)
})

test('a path that is too long for the kernel is reached all the same', async () => {
  await control.stop()
  const deep = join(folder, 'a'.repeat(60), 'b'.repeat(60))
  mkdirSync(deep, { recursive: true })
  path = join(deep, 'control.sock')
  control = createControl({ answer: edge.answer }, { path })
  await control.start()
  expect((await ask('GET', '/session')).status).toBe(200)
  expect(existsSync(path)).toBe(true)
})
