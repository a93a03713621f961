import { expect, test } from 'vitest'
import { unitText } from './unit.ts'

const unit = { name: 'kw1', settings: '/etc/keepwatch/server.yaml', dataDir: '/var/lib/keepwatch' }
const line = (text: string, key: string) => text.split('\n').find(one => one.startsWith(`${key}=`))

test('the unit starts the program as it was started, again and again', () => {
  const text = unitText({ ...unit, user: undefined }, { node: '/opt/node', program: '/opt/a b/kw' })
  expect(line(text, 'ExecStart')).toBe(
    'ExecStart=/opt/node "/opt/a b/kw" server --settings /etc/keepwatch/server.yaml',
  )
  expect(line(text, 'Restart')).toBe('Restart=always')
  expect(line(text, 'User')).toBeUndefined()
  expect(line(text, 'AmbientCapabilities')).toBeUndefined()
})

test('a user other than root gets the rights for the virtual address and low ports', () => {
  const text = unitText({ ...unit, user: 'keepwatch' })
  expect(line(text, 'User')).toBe('User=keepwatch')
  expect(line(text, 'AmbientCapabilities')).toMatch(/CAP_NET_ADMIN CAP_NET_BIND_SERVICE/)
})

test('where versions are installed beside each other, the launcher runs it, and may change it', () => {
  const version = '/opt/keepwatch/versions/0.3.0/node_modules'
  const own = {
    node: `${version}/node/bin/node`,
    program: `${version}/keepwatch/bin/keepwatch.mjs`,
  }
  expect(line(unitText({ ...unit, user: undefined }, own), 'ExecStart')).toBe(
    'ExecStart=/opt/keepwatch/bin/keepwatch launch --home /opt/keepwatch server --settings /etc/keepwatch/server.yaml',
  )
})
