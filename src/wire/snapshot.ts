/** Templates and sampling rates as JSON, so that a restart or another collector need not wait for them. */
import { formatAddress, parseAddress } from '../telemetry/address.ts'
import type { Domain, ExporterRegistry } from './exporters.ts'
import type { Announcement, Rates } from './sampling.ts'
import type { TemplateStore } from './templates.ts'

export interface TemplatesSnapshot {
  readonly format: 1
  readonly domains: readonly DomainSnapshot[]
}

interface DomainSnapshot {
  exporter: string
  version: number
  domain: number
  templates: TemplateSnapshot[]
  rates: RatesSnapshot
}

interface TemplateSnapshot {
  id: number
  options: boolean
  scopes: number
  /** Element, length, enterprise; three numbers a field. */
  fields: number[]
  /** Source port that announced it last. */
  port: number
  /** Milliseconds since 1970. */
  lastUsed: number
}

interface RatesSnapshot {
  base: number
  samplers: [id: number, rate: number][]
  interfaces: [ifIndex: number, rate: number][]
}

export function exportTemplates(registry: ExporterRegistry): TemplatesSnapshot {
  const domains: DomainSnapshot[] = []
  for (const exporter of registry.all()) {
    for (const domain of exporter.domains.values()) {
      const templates = templatesOf(domain)
      const rates = exportRates(domain.rates)
      if (templates.length === 0 && isEmpty(rates)) continue
      const { version, id } = domain
      domains.push({
        exporter: formatAddress(exporter.address),
        version,
        domain: id,
        templates,
        rates,
      })
    }
  }
  return { format: 1, domains }
}

/**
 * Files what a snapshot holds, within the same bounds as what comes from the network.
 * What does not look like a snapshot is passed over. What is already known stays as it is.
 *
 * @returns how many templates were filed
 */
export function importTemplates(
  snapshot: unknown,
  registry: ExporterRegistry,
  store: TemplateStore,
  announce: (domain: Domain, heard: Announcement) => void,
): number {
  let filed = 0
  for (const saved of arrayOf((snapshot as TemplatesSnapshot | null)?.domains)) {
    const address = typeof saved?.exporter === 'string' ? parseAddress(saved.exporter) : undefined
    if (address === undefined || !isCount(saved.domain)) continue
    if (saved.version !== 9 && saved.version !== 10) continue
    const templates = arrayOf(saved.templates).filter(isTemplate)
    const lastUsed = templates.reduce((latest, template) => Math.max(latest, template.lastUsed), 0)
    const exporter = registry.exporter(address, lastUsed)
    const domain = registry.domain(exporter, saved.version, saved.domain, lastUsed)
    if (!domain.remembered) continue
    const known = new Set(domain.templates.keys())
    for (const { id, options, scopes, fields, port, lastUsed: at } of templates) {
      if (known.has(id)) continue
      const definition = { id, options, scopes, fields: Uint32Array.from(fields) }
      if (store.add(domain, port, at, definition) === 'new') filed++
    }
    for (const heard of announcements(saved.rates, domain.rates)) announce(domain, heard)
  }
  return filed
}

function templatesOf(domain: Domain): TemplateSnapshot[] {
  const saved: TemplateSnapshot[] = []
  for (const variants of domain.templates.values()) {
    for (const { template, ports, lastUsed } of variants) {
      const { id, options, scopes, fields } = template
      saved.push({ id, options, scopes, fields: [...fields], port: ports.at(-1) ?? 0, lastUsed })
    }
  }
  return saved
}

function isTemplate(saved: TemplateSnapshot | null): saved is TemplateSnapshot {
  if (typeof saved !== 'object' || saved === null) return false
  const { id, options, scopes, fields, port, lastUsed } = saved
  if (typeof options !== 'boolean' || !Array.isArray(fields) || fields.length % 3 !== 0)
    return false
  if (![id, scopes, port, lastUsed, ...fields].every(isCount) || id > 0xffff) return false
  return fields.every((value, index) => value <= (index % 3 === 2 ? 0xffff_ffff : 0xffff))
}

function exportRates({ base, samplers, interfaces }: Rates): RatesSnapshot {
  return { base, samplers: [...samplers], interfaces: [...interfaces] }
}

function isEmpty({ base, samplers, interfaces }: RatesSnapshot): boolean {
  return base === 0 && samplers.length === 0 && interfaces.length === 0
}

/** The rates of a snapshot that are not known already. */
function* announcements(saved: RatesSnapshot | undefined, known: Rates): Iterable<Announcement> {
  const rate = saved?.base
  const nothing = { sampler: undefined, interface: undefined }
  if (known.base === 0 && isCount(rate) && rate > 0) yield { ...nothing, rate }
  for (const [id, of] of pairs(saved?.samplers)) {
    if (!known.samplers.has(id)) yield { ...nothing, sampler: id, rate: of }
  }
  for (const [ifIndex, of] of pairs(saved?.interfaces)) {
    if (!known.interfaces.has(ifIndex)) yield { ...nothing, interface: ifIndex, rate: of }
  }
}

function pairs(saved: readonly [number, number][] | undefined): [number, number][] {
  return arrayOf(saved).filter(
    pair => Array.isArray(pair) && isCount(pair[0]) && isCount(pair[1]) && pair[1] > 0,
  )
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function arrayOf<T>(value: readonly T[] | undefined): readonly T[] {
  return Array.isArray(value) ? value : []
}
