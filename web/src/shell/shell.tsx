import {
  ActionIcon,
  Drawer,
  Menu,
  Tooltip,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core'
import {
  IconBell,
  IconDeviceDesktop,
  IconLogout,
  IconMenu2,
  IconMoon,
  IconSun,
  IconUser,
} from '@tabler/icons-react'
import { useQueryClient } from '@tanstack/react-query'
import { Link, Outlet, useLocation } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import {
  sessionKey,
  useAnswer,
  useApi,
  useClient,
  useConnection,
  useSession,
  useSignedOut,
  useStale,
} from '../api/hooks.ts'
import { Brand, Navigation, pageTitle } from './navigation.tsx'
import { Leave, PairBanners, PairChip, TakeoverNotice } from './pair-status.tsx'

/** Everything around the pages once somebody is logged in. */
export function Shell() {
  const { client, handOver } = useApi()
  const { connection } = client
  const signedOut = useSignedOut()
  const stale = useStale()
  const queries = useQueryClient()
  const { pathname } = useLocation()
  const [menu, setMenu] = useState(false)
  useEffect(() => {
    connection.start()
    handOver.start()
    return () => {
      connection.stop()
      handOver.stop()
    }
  }, [connection, handOver])
  useEffect(() => {
    if (signedOut) queries.setQueryData(sessionKey, null)
  }, [signedOut, queries])
  useEffect(() => {
    document.title = `${pageTitle(pathname)} · Keepwatch`
  }, [pathname])

  return (
    <div className="shell">
      <aside className="shell-side">
        <Brand />
        <Navigation />
        <Version />
      </aside>
      <Drawer
        opened={menu}
        onClose={() => setMenu(false)}
        title={<Brand />}
        size={230}
        padding="xs"
      >
        <Navigation onNavigate={() => setMenu(false)} />
      </Drawer>
      <div className="shell-main">
        <header className="topbar">
          <span className="only-narrow">
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label="Pages"
              onClick={() => setMenu(true)}
            >
              <IconMenu2 size={18} />
            </ActionIcon>
          </span>
          <div className="topbar-title ellipsis">{pageTitle(pathname)}</div>
          <div className="topbar-right">
            <PairChip />
            <AlarmBell />
            <SchemeMenu />
            <UserMenu />
          </div>
        </header>
        <PairBanners />
        <TakeoverNotice />
        <Leave />
        <main className="page" data-stale={stale || undefined}>
          <Outlet />
        </main>
      </div>
    </div>
  )
}

function Version() {
  const { pair } = useConnection()
  const self = pair?.servers.find(server => server.self)
  return (
    <div className="side-foot">
      {self !== undefined && (
        <>
          {self.name}
          <br />
          version {self.version}
        </>
      )}
    </div>
  )
}

function AlarmBell() {
  const { data } = useAnswer('listAlarms', { query: { open: 'true' } }, { every: 10_000 })
  const open = data?.alarms.length ?? 0
  const label = open === 0 ? 'No open alarms' : `${open} open ${open === 1 ? 'alarm' : 'alarms'}`
  return (
    <Tooltip label={label}>
      <span className="bell">
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={label}
          renderRoot={props => <Link to="/" hash="alarms" {...props} />}
        >
          <IconBell size={17} />
        </ActionIcon>
        {open > 0 && <span className="bell-count">{open > 99 ? '99+' : open}</span>}
      </span>
    </Tooltip>
  )
}

function SchemeMenu() {
  const { setColorScheme } = useMantineColorScheme()
  const dark = useComputedColorScheme('light') === 'dark'
  return (
    <Menu position="bottom-end" shadow="md">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Colour scheme">
          {dark ? <IconMoon size={17} /> : <IconSun size={17} />}
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconSun size={15} />} onClick={() => setColorScheme('light')}>
          Light
        </Menu.Item>
        <Menu.Item leftSection={<IconMoon size={15} />} onClick={() => setColorScheme('dark')}>
          Dark
        </Menu.Item>
        <Menu.Item
          leftSection={<IconDeviceDesktop size={15} />}
          onClick={() => setColorScheme('auto')}
        >
          As the system
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}

function UserMenu() {
  const client = useClient()
  const queries = useQueryClient()
  const session = useSession()

  async function logOut() {
    // Where no server answers, the session ends here at least.
    await client.call('logOut', {}).catch(() => undefined)
    queries.clear()
    queries.setQueryData(sessionKey, null)
  }

  return (
    <Menu position="bottom-end" shadow="md">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Account" data-testid="account">
          <IconUser size={17} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {session?.user} · {session?.role}
        </Menu.Label>
        <Menu.Item renderRoot={props => <Link to="/settings" {...props} />}>
          Change password
        </Menu.Item>
        <Menu.Item
          leftSection={<IconLogout size={15} />}
          onClick={() => void logOut()}
          data-testid="logout"
        >
          Log out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}
