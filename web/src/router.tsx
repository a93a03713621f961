import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  retainSearchParams,
} from '@tanstack/react-router'
import { Empty, Failure, Loading } from './parts/states.tsx'
import { parseRange, type RangeSearch, rangeSearch } from './search/range.ts'
import { type Metric, metrics } from './search/series.ts'
import { listOf, oneOf, parseSearch, stringifySearch, textOf } from './search/url.ts'
import { isDimension, parseCondition } from './search/where.ts'
import { Gate } from './shell/gate.tsx'

/** Each page is a chunk of its own; all of them are fetched once the first is on screen. */
const load = {
  overview: () => import('./pages/overview.tsx'),
  traffic: () => import('./pages/traffic.tsx'),
  logs: () => import('./pages/logs.tsx'),
  devices: () => import('./pages/devices.tsx'),
  device: () => import('./pages/device.tsx'),
  failover: () => import('./pages/failover.tsx'),
  collectors: () => import('./pages/collectors.tsx'),
  exporters: () => import('./pages/exporters.tsx'),
  exporter: () => import('./pages/exporter.tsx'),
  settings: () => import('./pages/settings.tsx'),
}

/**
 * Fetches every page now: after a takeover the server that this page came from is gone, and with it
 * whatever was not fetched yet. A chunk that fails is fetched again when its page is opened.
 */
export async function fetchAllPages(): Promise<void> {
  for (const page of Object.values(load)) await page().catch(() => undefined)
}

type Raw = Record<string, unknown>

const root = createRootRoute({
  // The console of a standby stays its own from page to page, and when it is loaded again.
  validateSearch: (search: Raw): { here?: '1' } => ('here' in search ? { here: '1' } : {}),
  search: { middlewares: [retainSearchParams(['here'])] },
  component: Gate,
  notFoundComponent: () => (
    <Empty title="There is no such page">The pages are in the menu on the left.</Empty>
  ),
})

export interface TrafficSearch extends RangeSearch {
  metric?: Metric
  by?: string
  where?: string[]
}

export interface LogsSearch extends RangeSearch {
  tab?: 'traps'
  text?: string
  severity?: string
  sender?: string
  live?: '1'
}

/** What the page can list of what has been, beside the changes of role. */
const pastLists = ['operations', 'left-behind', 'notices'] as const

export interface FailoverSearch {
  list?: (typeof pastLists)[number]
  /** The one that is shown with its steps: also after the page has followed it to the other server. */
  operation?: string
}

export interface DeviceSearch {
  tab?: 'jobs'
  version?: string
  against?: string
  view?: 'text'
}

/** Drops what is not set, so that the URL stays short. */
function present<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}

function rangeOf(search: Raw): RangeSearch {
  return search.range === undefined && search.from === undefined
    ? {}
    : rangeSearch(parseRange(search))
}

const overview = createRoute({
  getParentRoute: () => root,
  path: '/',
  component: lazyRouteComponent(load.overview, 'OverviewPage'),
})
const traffic = createRoute({
  getParentRoute: () => root,
  path: '/traffic',
  validateSearch: (search: Raw): TrafficSearch => {
    const by = textOf(search.by)
    const where = listOf(search.where).filter(text => parseCondition(text) !== undefined)
    return present<TrafficSearch>({
      ...rangeOf(search),
      metric: search.metric === undefined ? undefined : oneOf(search.metric, metrics),
      by: by?.split(',').every(isDimension) === true ? by : undefined,
      where: where.length === 0 ? undefined : where,
    })
  },
  component: lazyRouteComponent(load.traffic, 'TrafficPage'),
})
const logs = createRoute({
  getParentRoute: () => root,
  path: '/logs',
  validateSearch: (search: Raw): LogsSearch => {
    const severity = textOf(search.severity)
    return present<LogsSearch>({
      ...rangeOf(search),
      tab: textOf(search.tab) === 'traps' ? 'traps' : undefined,
      text: textOf(search.text),
      severity: severity !== undefined && /^[0-7]$/.test(severity) ? severity : undefined,
      sender: textOf(search.sender),
      live: textOf(search.live) === '1' ? '1' : undefined,
    })
  },
  component: lazyRouteComponent(load.logs, 'LogsPage'),
})
const devices = createRoute({
  getParentRoute: () => root,
  path: '/devices',
  component: lazyRouteComponent(load.devices, 'DevicesPage'),
})
const device = createRoute({
  getParentRoute: () => root,
  path: '/devices/$id',
  validateSearch: (search: Raw): DeviceSearch =>
    present<DeviceSearch>({
      tab: textOf(search.tab) === 'jobs' ? 'jobs' : undefined,
      version: textOf(search.version),
      against: textOf(search.against),
      view: textOf(search.view) === 'text' ? 'text' : undefined,
    }),
  component: lazyRouteComponent(load.device, 'DevicePage'),
})
const failover = createRoute({
  getParentRoute: () => root,
  path: '/failover',
  validateSearch: (search: Raw): FailoverSearch => {
    const list = textOf(search.list)
    return present<FailoverSearch>({
      list: pastLists.find(one => one === list),
      operation: textOf(search.operation),
    })
  },
  component: lazyRouteComponent(load.failover, 'FailoverPage'),
})
const collectors = createRoute({
  getParentRoute: () => root,
  path: '/collectors',
  component: lazyRouteComponent(load.collectors, 'CollectorsPage'),
})
const exporters = createRoute({
  getParentRoute: () => root,
  path: '/exporters',
  validateSearch: (search: Raw): { find?: string; only?: 'trouble' } =>
    present<{ find?: string; only?: 'trouble' }>({
      find: textOf(search.find),
      only: textOf(search.only) === 'trouble' ? 'trouble' : undefined,
    }),
  component: lazyRouteComponent(load.exporters, 'ExportersPage'),
})
const exporter = createRoute({
  getParentRoute: () => root,
  path: '/exporters/$address',
  validateSearch: (search: Raw): RangeSearch => rangeOf(search),
  component: lazyRouteComponent(load.exporter, 'ExporterPage'),
})
const settingsTabs = ['general', 'names', 'tokens', 'audit'] as const
type SettingsTab = (typeof settingsTabs)[number]
const settings = createRoute({
  getParentRoute: () => root,
  path: '/settings',
  validateSearch: (search: Raw): { tab?: SettingsTab } => {
    const tab = settingsTabs.find(one => one === textOf(search.tab))
    return tab === undefined ? {} : { tab }
  },
  component: lazyRouteComponent(load.settings, 'SettingsPage'),
})

export const router = createRouter({
  routeTree: root.addChildren([
    overview,
    traffic,
    logs,
    devices,
    device,
    failover,
    collectors,
    exporters,
    exporter,
    settings,
  ]),
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
  defaultPendingComponent: () => <Loading rows={8} />,
  defaultErrorComponent: ({ error, reset }) => (
    <Failure error={error} what="This page failed" retry={reset} />
  ),
  scrollRestoration: true,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
