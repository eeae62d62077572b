// What every Bellhop machine has, whichever way its virtio devices are reached. Compiled by iasl
// when Bellhop is built. acpi_tables_test.cc holds the addresses against the C++ constants.
DefinitionBlock ("", "DSDT", 2, "BELHOP", "BELLHOP ", 1)
{
  // Soft off: the sleep type that goes to PM1_CNT.
  Name (\_S5, Package () { 5, 5, 0, 0 })

  Scope (\_SB)
  {
    // The power management registers belong to nobody else.
    Device (MBRD)
    {
      Name (_HID, EisaId ("PNP0C02"))
      Name (_UID, 0)
      Name (_CRS, ResourceTemplate ()
      {
        IO (Decode16, 0x0600, 0x0600, 1, 0x10)
      })
    }

    Device (COM1)
    {
      Name (_HID, EisaId ("PNP0501"))
      Name (_UID, 1)
      Name (_CRS, ResourceTemplate ()
      {
        IO (Decode16, 0x03F8, 0x03F8, 1, 8)
        IRQNoFlags () { 4 }
      })
    }

    // A clock without alarm: no interrupt.
    Device (RTC0)
    {
      Name (_HID, EisaId ("PNP0B00"))
      Name (_CRS, ResourceTemplate ()
      {
        IO (Decode16, 0x0070, 0x0070, 1, 2)
      })
    }

    // pvpanic: a guest tells here that its kernel has panicked.
    Device (PEVT)
    {
      Name (_HID, "QEMU0001")
      Name (_CRS, ResourceTemplate ()
      {
        IO (Decode16, 0x0505, 0x0505, 1, 1)
      })
    }
  }
}
