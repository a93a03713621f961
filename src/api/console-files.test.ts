import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Edge, startEdge } from '../../test/fixtures/http-edge.ts'

let folder: string
let edge: Edge
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keepwatch-console-'))
  const dist = join(folder, 'dist')
  mkdirSync(join(dist, 'assets'), { recursive: true })
  writeFileSync(join(folder, 'secret.txt'), 'secret')
  writeFileSync(join(dist, 'index.html'), '<!doctype html><title>Keepwatch</title>')
  writeFileSync(join(dist, '.built'), 'secret')
  writeFileSync(join(dist, 'assets', 'index-abc.js'), 'export {}')
  edge = await startEdge({ consoleDir: dist })
})
afterAll(async () => {
  await edge.stop()
  rmSync(folder, { recursive: true })
})

describe('the console', () => {
  test('is served at every path that is a view of it, never kept by browsers', async () => {
    for (const path of ['/', '/index.html', '/devices', '/devices/0190a000', '/logs?text=a.b']) {
      const reply = await edge.call('GET', path)
      expect(reply.status, path).toBe(200)
      expect(reply.headers['content-type']).toContain('text/html')
      expect(reply.headers['cache-control']).toBe('no-cache')
      expect(reply.text).toContain('<title>Keepwatch</title>')
    }
    expect((await edge.call('HEAD', '/devices')).status).toBe(200)
  })

  test('has its assets kept, whose names hold their hashes', async () => {
    const reply = await edge.call('GET', '/assets/index-abc.js')
    expect(reply).toMatchObject({ status: 200, text: 'export {}' })
    expect(reply.headers['cache-control']).toContain('immutable')
    expect(reply.headers['content-type']).toContain('javascript')
    expect((await edge.call('GET', '/assets/index-old.js')).status).toBe(404)
  })

  test.each([
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/%2e%2e%2fsecret.txt',
    '/assets/../../secret.txt',
    '/assets/%2e%2e/%2e%2e/secret.txt',
    '/assets/..%5c..%5csecret.txt',
    '/....//secret.txt',
    '//secret.txt',
    '/%252e%252e/secret.txt',
    '/assets/..%00/secret.txt',
    '/secret.txt',
    '/.built',
    '/%2ebuilt',
    '/assets/../.built',
    '/assets/',
    '/assets',
  ])('shows nothing else for %s', async path => {
    const reply = await edge.call('GET', path)
    expect(reply.text).not.toBe('secret')
    expect(reply.text).not.toContain('index-abc')
    if (reply.status === 200) expect(reply.text).toContain('<title>Keepwatch</title>')
    else expect(reply.json.error.message).toMatch(/\S/)
  })

  test('does not stand in for an operation that there is not', async () => {
    expect((await edge.call('GET', '/api/v1/nothing')).json.error.code).toBe('not-found')
    expect((await edge.call('POST', '/devices')).status).toBe(404)
  })
})

test('without a built console there is the API alone', async () => {
  for (const consoleDir of ['', join(folder, 'none')]) {
    const bare = await startEdge({ consoleDir })
    expect((await bare.call('GET', '/')).json.error.code).toBe('not-found')
    expect((await bare.call('GET', '/healthz')).status).toBe(200)
    await bare.stop()
  }
})
