import {
  createTheme,
  type MantineColorsTuple,
  Modal,
  NumberInput,
  PasswordInput,
  Select,
  Textarea,
  TextInput,
  Tooltip,
} from '@mantine/core'

/** Cool neutrals: gray for the light scheme, dark for the dark one, both bluish on purpose. */
const gray: MantineColorsTuple = [
  '#f6f8f9',
  '#eef1f3',
  '#e3e8eb',
  '#d3dade',
  '#b6c0c7',
  '#93a0a9',
  '#6d7b86',
  '#4d5a65',
  '#323d46',
  '#1b252d',
]
const dark: MantineColorsTuple = [
  '#d5dee4',
  '#b3c0c9',
  '#8b9aa5',
  '#5f6f7b',
  '#2f3d47',
  '#25323b',
  '#1a242c',
  '#141c23',
  '#0f161b',
  '#0a0f13',
]
/** The one accent. */
const petrol: MantineColorsTuple = [
  '#e8f5f8',
  '#d3e8ee',
  '#a5d0dc',
  '#75b8c9',
  '#52a4ba',
  '#3a97b0',
  '#16788f',
  '#0f687d',
  '#0b5a6d',
  '#044857',
]

export const theme = createTheme({
  primaryColor: 'petrol',
  primaryShade: 6,
  colors: { gray, dark, petrol },
  defaultRadius: 4,
  // Named faces first: on Linux, system-ui is often one that is too wide for dense tables.
  fontFamily:
    'Inter, "Segoe UI", -apple-system, BlinkMacSystemFont, Roboto, "Noto Sans", "Helvetica Neue", "Liberation Sans", Arial, system-ui, sans-serif',
  fontFamilyMonospace:
    'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.125rem' },
  headings: { fontWeight: '600' },
  cursorType: 'pointer',
  components: {
    TextInput: TextInput.extend({ defaultProps: { size: 'sm' } }),
    PasswordInput: PasswordInput.extend({ defaultProps: { size: 'sm' } }),
    NumberInput: NumberInput.extend({ defaultProps: { size: 'sm' } }),
    Textarea: Textarea.extend({ defaultProps: { size: 'sm' } }),
    Select: Select.extend({ defaultProps: { size: 'sm', comboboxProps: { shadow: 'md' } } }),
    Tooltip: Tooltip.extend({ defaultProps: { openDelay: 250, withArrow: true, multiline: true } }),
    Modal: Modal.extend({
      defaultProps: {
        overlayProps: { backgroundOpacity: 0.45 },
        transitionProps: { duration: 120 },
      },
    }),
  },
})

/** Colours of stacked series, told apart in both schemes; the last is for the rest together. */
export const seriesColors = [
  '#3d8fc4',
  '#dd9140',
  '#57a773',
  '#c5606d',
  '#8f7cc6',
  '#b8a043',
  '#46adb3',
  '#c47fb1',
  '#7c94ad',
  '#a5795a',
] as const
export const restColor = '#87949e'

/** Colours by severity of syslog, 0 emergency … 7 debug. */
export const severityColors = [
  '#a3263f',
  '#b93a3f',
  '#cf5347',
  '#d9714a',
  '#d9a441',
  '#5b9bc0',
  '#87949e',
  '#b6c0c7',
] as const
