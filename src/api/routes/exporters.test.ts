import { expect, test } from 'vitest'
import { ApiError, type HandlerCall } from '../handler.ts'
import type { AuditLine } from '../write.ts'
import { exporterRoutes } from './exporters.ts'

function setUp() {
  const rates = new Map<string, number>()
  const lines: AuditLine[] = []
  const routes = exporterRoutes<object>({
    exporters: {
      list: async () =>
        [...rates].map(([address, sampling]) => ({
          ...{ address, sampling, changedAt: new Date(0), changedBy: 'ada' },
        })),
      async setSampling(_, address, sampling) {
        if (sampling === null) rates.delete(address)
        else rates.set(address, sampling)
      },
    },
    async write(_caller, line, work) {
      lines.push(line)
      return work({})
    },
  })
  const set = (address: string, sampling: number | null) => {
    const call = { caller: { name: 'ada' }, params: { address }, body: { sampling } }
    return routes.setExporter(call as unknown as HandlerCall<never>)
  }
  return { routes, lines, set }
}

test('the rate of an exporter is set under its address as telemetry writes it', async () => {
  const { lines, set } = setUp()
  const now = { changedAt: '1970-01-01T00:00:00.000Z', changedBy: 'ada' }
  expect(await set('2001:DB8:0::1', 100)).toEqual({ address: '2001:db8::1', sampling: 100, ...now })
  expect(lines).toMatchObject([{ subject: '2001:db8::1', detail: { sampling: 100 } }])
})

test('what the exporter says holds again when nothing is set', async () => {
  const { routes, set } = setUp()
  await set('192.0.2.1', 100)
  expect(await set('192.0.2.1', null)).toMatchObject({ sampling: null, changedBy: null })
  expect(await routes.listExporters({} as HandlerCall<never>)).toEqual({ exporters: [] })
})

test('what is no address is refused', async () => {
  await expect(setUp().set('edge-1', 100)).rejects.toThrow(ApiError)
})
