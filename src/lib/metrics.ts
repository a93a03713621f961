import { Registry } from 'prom-client'

/** One registry a process; components register their own counters in it (names: `keepwatch_<noun>_<unit>`). */
export type Metrics = Registry

export function createMetrics(labels: Record<string, string>): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels(labels)
  return registry
}
