import { expect, test } from 'vitest'
import { createBatch } from '../telemetry/batch.ts'
import { tables } from '../telemetry/tables.ts'
import { createFlowDecoder } from '../wire/flow-decoder.ts'
import { mergeTemplates } from './templates-merge.ts'

const template = (id: number, lastUsed: number, field: number) => ({
  id,
  options: false,
  scopes: 0,
  fields: [field, 4, 0],
  port: 2055,
  lastUsed,
})
const domain = (exporter: string, templates: object[], rates: object = {}) => ({
  exporter,
  version: 9,
  domain: 7,
  templates,
  rates: { base: 0, samplers: [], interfaces: [], ...rates },
})
const snapshot = (...domains: object[]) => ({ format: 1, domains })

function known(...snapshots: unknown[]) {
  const decoder = createFlowDecoder({
    batch: createBatch(tables.flow, 8, () => {}),
    onProblem: () => {},
  })
  decoder.templates.import(mergeTemplates(snapshots))
  return decoder.templates.export().domains
}

test('of each template the definition that was used last is known, and the rates of all', () => {
  const file = snapshot(
    domain('10.0.0.1', [template(256, 100, 1), template(257, 100, 1)], { samplers: [[1, 1000]] }),
    domain('10.0.0.2', [template(256, 50, 1)]),
  )
  const learnt = snapshot(domain('10.0.0.1', [template(256, 200, 2)], { base: 64 }))
  for (const order of [
    [file, learnt],
    [learnt, file],
  ]) {
    const domains = known(...order).toSorted((a, b) => (a.exporter < b.exporter ? -1 : 1))
    expect(domains.map(({ exporter }) => exporter)).toEqual(['10.0.0.1', '10.0.0.2'])
    const [one] = domains
    const fields = one!.templates.map(({ id, fields: [first] }) => [id, first])
    expect(fields.toSorted()).toEqual([
      [256, 2],
      [257, 1],
    ])
    expect(one!.rates).toMatchObject({ base: 64, samplers: [[1, 1000]] })
  }
})

test('what is no snapshot is passed over', () => {
  const good = snapshot(domain('10.0.0.1', [template(256, 1, 1)]))
  const bad = [
    undefined,
    null,
    7,
    { domains: 'x' },
    { domains: [null, 3, { templates: [null, 1] }] },
  ]
  expect(known(...bad, good)).toHaveLength(1)
})
