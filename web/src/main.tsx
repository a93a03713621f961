import { localStorageColorSchemeManager, MantineProvider } from '@mantine/core'
import { Notifications } from '@mantine/notifications'
import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { ClientProvider } from './api/hooks.ts'
import { createBrowserClient } from './api/setup.ts'
import { fetchAllPages, router } from './router.tsx'
import { theme } from './theme.ts'
import './styles/index.css'

const { client, queries } = createBrowserClient(location.origin)
const colorScheme = localStorageColorSchemeManager({ key: 'keepwatch-scheme' })

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" colorSchemeManager={colorScheme}>
      <QueryClientProvider client={queries}>
        <ClientProvider value={client}>
          <Notifications position="bottom-right" limit={4} />
          <RouterProvider router={router} />
        </ClientProvider>
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
)

const whenIdle = window.requestIdleCallback ?? ((action: () => void) => setTimeout(action, 1500))
whenIdle(() => void fetchAllPages())
