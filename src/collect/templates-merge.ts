/** Several snapshots of flow templates as one: of each template the definition that was used last. */

interface Domain {
  exporter: unknown
  version: unknown
  domain: unknown
  templates: { id: unknown; lastUsed: unknown }[]
}

/** Snapshots as the decoder exports them, or whatever a file held: what does not look like one is passed over. */
export function mergeTemplates(snapshots: readonly unknown[]): object {
  const all = snapshots.flatMap(domainsOf)
  const domains = new Map<string, { newest: Domain; byId: Map<unknown, Domain['templates']> }>()
  for (const domain of all) {
    const key = `${domain.exporter} ${domain.version} ${domain.domain}`
    const known = domains.get(key)
    if (known === undefined) {
      domains.set(key, { newest: domain, byId: grouped(domain) })
      continue
    }
    // Sampling rates have no time of their own.
    if (lastUse(domain.templates) > lastUse(known.newest.templates)) known.newest = domain
    for (const [id, templates] of grouped(domain)) {
      if (lastUse(templates) > lastUse(known.byId.get(id) ?? [])) known.byId.set(id, templates)
    }
  }
  const merged = [...domains.values()].map(({ newest, byId }) => ({
    ...newest,
    templates: [...byId.values()].flat(),
  }))
  // What comes first goes: rates that only an older snapshot has fill the gaps.
  const rates = all.map(domain => ({ ...domain, templates: [] }))
  return { format: 1, domains: [...merged, ...rates] }
}

function domainsOf(snapshot: unknown): Domain[] {
  const { domains } = (snapshot ?? {}) as { domains?: unknown }
  if (!Array.isArray(domains)) return []
  return domains.flatMap((domain: Partial<Domain> | null) =>
    domain === null || typeof domain !== 'object'
      ? []
      : [{ ...domain, templates: templatesOf(domain.templates) } as Domain],
  )
}

function templatesOf(templates: unknown): Domain['templates'] {
  if (!Array.isArray(templates)) return []
  return templates.filter(template => typeof template === 'object' && template !== null)
}

/** An id may have several definitions, told apart by the source port: they stay together. */
function grouped({ templates }: Domain): Map<unknown, Domain['templates']> {
  return Map.groupBy(templates, ({ id }) => id)
}

function lastUse(templates: Domain['templates']): number {
  return templates.reduce(
    (latest, { lastUsed }) => Math.max(latest, typeof lastUsed === 'number' ? lastUsed : 0),
    -1,
  )
}
