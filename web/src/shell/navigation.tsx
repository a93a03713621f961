import {
  IconActivity,
  IconAffiliate,
  IconAlignLeft,
  IconAntenna,
  IconChartAreaLine,
  IconDatabaseImport,
  IconRouter,
  IconSettings,
} from '@tabler/icons-react'
import { Link } from '@tanstack/react-router'

const pages = [
  { to: '/', label: 'Overview', icon: IconActivity, testId: 'nav-overview' },
  { to: '/traffic', label: 'Traffic', icon: IconChartAreaLine, testId: 'nav-traffic' },
  { to: '/logs', label: 'Logs', icon: IconAlignLeft, testId: 'nav-logs' },
  { to: '/devices', label: 'Devices', icon: IconRouter, testId: 'nav-devices' },
  { to: '/failover', label: 'Failover', icon: IconAffiliate, testId: 'nav-failover' },
  { to: '/collectors', label: 'Collectors', icon: IconDatabaseImport, testId: 'nav-collectors' },
  { to: '/exporters', label: 'Exporters', icon: IconAntenna, testId: 'nav-exporters' },
  { to: '/settings', label: 'Settings', icon: IconSettings, testId: 'nav-settings' },
] as const

/** Name of the page at an address, for the bar at the top. */
export function pageTitle(path: string): string {
  const page = pages.findLast(({ to }) => path === to || path.startsWith(`${to}/`))
  return page?.label ?? 'Keepwatch'
}

export function Navigation({ onNavigate }: { onNavigate?: () => void }) {
  return (
    <nav className="nav" aria-label="Pages">
      {pages.map(({ to, label, icon: Icon, testId }) => (
        <Link
          key={to}
          to={to}
          activeOptions={{ exact: to === '/', includeSearch: false }}
          data-testid={testId}
          {...(onNavigate === undefined ? {} : { onClick: onNavigate })}
        >
          <Icon size={17} stroke={1.7} aria-hidden />
          {label}
        </Link>
      ))}
    </nav>
  )
}

export function Brand() {
  return (
    <div className="brand">
      <svg width="20" height="20" viewBox="0 0 32 32" aria-hidden="true">
        <path
          d="M2 17h7l4-10 6 18 4-8h7"
          fill="none"
          stroke="currentColor"
          strokeWidth="3"
          strokeLinecap="round"
          strokeLinejoin="round"
        />
      </svg>
      Keepwatch
    </div>
  )
}
