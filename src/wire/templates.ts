/** Templates of NetFlow 9 and IPFIX: filed by exporter, domain, id and source port, compiled once. */
import type { Domain, Exporter } from './exporters.ts'
import { compilePlan, type Fields, isVariable, type Plan, smallestRecord } from './plan.ts'
import type { FlowProblem } from './problems.ts'

export interface Template {
  readonly id: number
  /** Its records tell of the exporter, not of flows. */
  readonly options: boolean
  /** How many fields of an options template come first as its scope. */
  readonly scopes: number
  readonly fields: Fields
  readonly variable: boolean
  /** Bytes of a record, or of the smallest one if the length varies. */
  readonly smallest: number
  readonly plan: Plan
  /** The row of the opposite direction of a two-way record (RFC 5103). */
  readonly reverse: Plan | undefined
}

/**
 * One definition of a template id. There are several only where exporters share an address and a
 * domain number and differ; then the source port tells them apart.
 */
export interface Variant {
  template: Template
  /** Source ports that announced it, the latest last. */
  ports: number[]
  /** When it was last announced or used. */
  lastUsed: number
}

export interface TemplateBounds {
  fieldsPerTemplate: number
  templatesPerExporter: number
  /** Fields of all templates of all exporters. */
  fieldsInTotal: number
  /** Templates neither announced nor used for so long are forgotten. */
  templateLifetimeMs: number
}

export interface TemplateStore {
  /** Rises when a definition is added, replaced or forgotten. */
  readonly version: number
  readonly templates: number
  readonly fields: number
  /** Files a definition; a problem if it was refused. */
  add(
    domain: Domain,
    port: number,
    received: number,
    definition: Definition,
  ): FlowProblem | 'same' | 'new'
  find(domain: Domain, port: number, received: number, id: number): Template | undefined
  /**
   * Forgets what the sender at a port has defined (RFC 7011 §8.1): one template, or all of their
   * kind where `id` is that of their sets.
   */
  withdraw(domain: Domain, port: number, id: number, options: boolean): void
  /** Forgets what a domain defined. */
  forget(domain: Domain): void
}

export interface Definition {
  id: number
  options: boolean
  scopes: number
  /** Copied, so it may be a view. */
  fields: Fields
}

const maxPorts = 64
const maxVariants = 8
const nothing: Plan = { columns: new Int32Array(0), steps: new Int32Array(0), traits: 0 }

export function createTemplateStore(bounds: TemplateBounds): TemplateStore {
  let version = 0
  let templates = 0
  let fields = 0

  function count(exporter: Exporter, template: Template, sign: 1 | -1) {
    exporter.templates += sign
    templates += sign
    fields += (sign * template.fields.length) / 3
    version++
  }

  /** Forgets what is out of use at one exporter, to make room. */
  function expire(exporter: Exporter, received: number) {
    for (const domain of exporter.domains.values()) {
      for (const [id, variants] of domain.templates) {
        dropWhere(domain, id, variants, variant => isStale(variant, received))
      }
    }
  }

  function isStale(variant: Variant, received: number): boolean {
    return variant.lastUsed < received - bounds.templateLifetimeMs
  }

  function dropWhere(
    domain: Domain,
    id: number,
    variants: Variant[],
    gone: (variant: Variant) => boolean,
  ) {
    for (let index = variants.length - 1; index >= 0; index--) {
      const variant = variants[index]!
      if (!gone(variant)) continue
      variants.splice(index, 1)
      count(domain.exporter, variant.template, -1)
    }
    if (variants.length === 0) domain.templates.delete(id)
  }

  function hasRoom(exporter: Exporter, more: number): boolean {
    return exporter.templates < bounds.templatesPerExporter && fields + more <= bounds.fieldsInTotal
  }

  return {
    get version() {
      return version
    },
    get templates() {
      return templates
    },
    get fields() {
      return fields
    },
    add(domain, port, received, definition) {
      const refusal = judge(definition, bounds)
      if (refusal !== undefined) return refusal
      if (!domain.remembered) return 'too-many-domains'
      const { id } = definition
      const variants = domain.templates.get(id) ?? []
      const known = variants.find(variant => isSame(variant.template, definition))
      if (known !== undefined) {
        known.lastUsed = received
        if (known.ports.at(-1) !== port) {
          takePort(variants, port)
          known.ports.push(port)
          if (known.ports.length > maxPorts) known.ports.shift()
          dropWhere(domain, id, variants, variant => variant.ports.length === 0)
        }
        return 'same'
      }
      takePort(variants, port)
      dropWhere(domain, id, variants, variant => variant.ports.length === 0)
      if (variants.length === maxVariants) {
        dropWhere(domain, id, variants, variant => variant === variants[0])
      }
      const { exporter } = domain
      const more = definition.fields.length / 3
      if (!hasRoom(exporter, more)) expire(exporter, received)
      if (!hasRoom(exporter, more)) return 'too-many-templates'
      const template = compile(definition)
      variants.push({ template, ports: [port], lastUsed: received })
      domain.templates.set(id, variants)
      count(exporter, template, 1)
      return 'new'
    },
    find(domain, port, received, id) {
      const variants = domain.templates.get(id)
      if (variants === undefined) return undefined
      // Ports change when an exporter restarts, so an unknown port is no reason not to decode.
      const variant =
        variants.length === 1
          ? variants[0]!
          : (variants.find(candidate => candidate.ports.includes(port)) ?? variants.at(-1)!)
      if (isStale(variant, received)) {
        dropWhere(domain, id, variants, candidate => candidate === variant)
        return undefined
      }
      variant.lastUsed = received
      return variant.template
    },
    withdraw(domain, port, id, options) {
      const all = id < 256
      for (const [key, variants] of domain.templates) {
        if (!all && key !== id) continue
        dropWhere(domain, key, variants, ({ template, ports }) => {
          return ports.includes(port) && (!all || template.options === options)
        })
      }
    },
    forget(domain) {
      for (const [id, variants] of domain.templates) dropWhere(domain, id, variants, () => true)
    },
  }
}

function takePort(variants: Variant[], port: number) {
  for (const variant of variants) variant.ports = variant.ports.filter(other => other !== port)
}

/** Why a definition cannot be used. */
function judge(definition: Definition, bounds: TemplateBounds): FlowProblem | undefined {
  const { id, options, scopes, fields } = definition
  const count = fields.length / 3
  if (id < 256 || (options && scopes > count)) return 'bad-template'
  if (count > bounds.fieldsPerTemplate) return 'too-many-fields'
  return smallestRecord(fields) === 0 ? 'empty-template' : undefined
}

function isSame(template: Template, definition: Definition): boolean {
  const { fields } = definition
  if (template.options !== definition.options || template.scopes !== definition.scopes) return false
  if (template.fields.length !== fields.length) return false
  for (let i = 0; i < fields.length; i++) if (template.fields[i] !== fields[i]) return false
  return true
}

function compile(definition: Definition): Template {
  const fields = definition.fields.slice()
  const { id, options, scopes } = definition
  return {
    id,
    options,
    scopes,
    fields,
    variable: isVariable(fields),
    smallest: smallestRecord(fields),
    plan: options ? nothing : compilePlan(fields, false)!,
    reverse: options ? undefined : compilePlan(fields, true),
  }
}
