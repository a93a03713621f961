import { expect, test } from 'vitest'
import { ApiError, type HandlerCall } from '../handler.ts'
import { nameRoutes } from './names.ts'

function setUp() {
  let entries: unknown[] = []
  let changes = 0
  const routes = nameRoutes<object>({
    nameLists: {
      read: async () => ({ entries, version: changes, changedAt: null, changedBy: null }),
      async replace(_tx, _list, change) {
        entries = [...change.entries]
        return { entries, version: change.version + 1, changedAt: new Date(0), changedBy: 'ada' }
      },
    },
    write: (_caller, _line, work) => work({}),
    changed: () => changes++,
  })
  const call = (body: object) =>
    ({ caller: { name: 'ada' }, body }) as unknown as HandlerCall<never>
  return { routes, call, changes: () => changes }
}

test('names are replaced as a whole, and hold at once', async () => {
  const { routes, call, changes } = setUp()
  const networks = [{ prefix: '10.0.0.0/8', name: 'office', site: 'Berlin' }]
  expect(await routes.setNetworks(call({ networks, version: 0 }))).toEqual({
    ...{ networks, version: 1, changedAt: '1970-01-01T00:00:00.000Z', changedBy: 'ada' },
  })
  expect(changes()).toBe(1)
  expect((await routes.getNetworks(call({}))).networks).toEqual(networks)
})

test('two names for the same are refused, and say which', async () => {
  const { routes, call, changes } = setUp()
  const web = { protocol: 6, port: 80, name: 'web' }
  const twice = { applications: [web, { ...web, name: 'www' }], version: 0 }
  const refused = expect(routes.setApplications(call(twice))).rejects
  await refused.toThrow(ApiError)
  await expect(routes.setApplications(call(twice))).rejects.toThrow('6/80 is there twice')
  expect(changes()).toBe(0)
})
