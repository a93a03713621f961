import type { Handlers } from '../handler.ts'
import { wire } from '../wire.ts'
import type { Write } from '../write.ts'
import { readAddress } from './address.ts'

interface ExporterSettings {
  address: string
  sampling: number
  changedAt: Date
  changedBy: string
}

export function exporterRoutes<Tx>(deps: {
  exporters: {
    list(): Promise<ExporterSettings[]>
    setSampling(tx: Tx, address: string, sampling: number | null): Promise<void>
  }
  write: Write<Tx>
}): Handlers<'listExporters' | 'setExporter'> {
  return {
    async listExporters() {
      return { exporters: wire(await deps.exporters.list()) }
    },

    async setExporter({ params, body, caller }) {
      const address = readAddress(params.address)
      const line = { action: 'set sampling of exporter', subject: address, detail: body }
      await deps.write(caller, line, tx => deps.exporters.setSampling(tx, address, body.sampling))
      const set = (await deps.exporters.list()).find(one => one.address === address)
      if (set) return wire(set)
      return { address, sampling: null, changedAt: null, changedBy: null }
    },
  }
}
