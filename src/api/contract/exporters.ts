import { z } from 'zod'
import { endpoint, moment } from './endpoint.ts'

const exporterSettings = z.object({
  address: z.string(),
  /** Packets of which one is looked at, by a person's word; null: what the exporter says holds. */
  sampling: z.number().int().nullable(),
  changedAt: moment.nullable(),
  changedBy: z.string().nullable(),
})

export const exporterEndpoints = {
  listExporters: endpoint({
    method: 'GET',
    path: '/exporters',
    summary: 'What was set for exporters of flows; how they are is with the collectors',
    tag: 'traffic',
    role: 'viewer',
    write: false,
    response: z.object({ exporters: z.array(exporterSettings) }),
  }),
  setExporter: endpoint({
    method: 'PUT',
    path: '/exporters/:address',
    summary: 'Say at which rate an exporter samples, for what is stored already too',
    tag: 'traffic',
    role: 'operator',
    write: true,
    params: z.object({ address: z.string().max(45) }),
    body: z.object({ sampling: z.number().int().min(1).max(4_294_967_295).nullable() }),
    response: exporterSettings,
  }),
}
