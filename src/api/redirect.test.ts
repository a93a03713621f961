import { describe, expect, test } from 'vitest'
import { changeAtActive, pageOfActive } from './redirect.ts'

const active = 'https://kw2.example.net:8443'
const page = { method: 'GET', url: '/devices?x=1', accept: 'text/html,*/*', origin: undefined }

describe('a standby', () => {
  test('sends a person to the same page of the active', () => {
    expect(pageOfActive(page, active)).toBe('https://kw2.example.net:8443/devices?x=1')
  })

  test.each([
    ['when nobody is active', page, null],
    ['what a script asks', { ...page, origin: 'https://kw1.example.net' }, active],
    ['a program', { ...page, accept: 'application/json' }, active],
    ['a question of the API', { ...page, url: '/api/v1/devices' }, active],
    ['a piece of the console', { ...page, url: '/assets/index.js' }, active],
    ['who wants its own console', { ...page, url: '/devices?here' }, active],
    ['a form', { ...page, method: 'POST' }, active],
    ['a path that is another host', { ...page, url: '//evil.example/x' }, active],
  ])('keeps %s', (_what, asked, to) => {
    expect(pageOfActive(asked, to)).toBeUndefined()
  })

  test('sends a program with its change to the active, but no script of the console', () => {
    const change = { ...page, method: 'POST', url: '/api/v1/devices', accept: undefined }
    expect(changeAtActive(change, active)).toBe('https://kw2.example.net:8443/api/v1/devices')
    expect(changeAtActive({ ...change, origin: 'https://x' }, active)).toBeUndefined()
    expect(changeAtActive(change, null)).toBeUndefined()
    expect(changeAtActive({ ...change, url: '//evil.example' }, active)).toBeUndefined()
  })
})
