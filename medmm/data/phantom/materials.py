"""Linear attenuation coefficients at 60 keV, in 1/mm.

60 keV is about the mean energy of the beam behind a patient at 110 to 125 kVp, the usual setting of a chest
radiograph. Each coefficient is a mass attenuation coefficient of NIST (Hubbell & Seltzer, NISTIR 5632, tables 3 and 4;
compositions of tissues from ICRU report 44) times a density: 0.1 * (mu/rho in cm2/g) * (rho in g/cm3).
"""

from __future__ import annotations

AIR = 0.1 * 0.1875 * 0.001205
"""Dry air near sea level."""
ADIPOSE = 0.1 * 0.1974 * 0.95
"""Adipose tissue (ICRU-44)."""
WATER = 0.1 * 0.2059 * 1.0
"""Liquid water; also effusions and secretions. The zero of the Hounsfield scale."""
SOFT = 0.1 * 0.2048 * 1.06
"""Soft tissue (ICRU-44)."""
BLOOD = 0.1 * 0.2057 * 1.06
"""Whole blood (ICRU-44): heart and vessels."""
LUNG_DENSITY = 0.26
"""Inflated lung in g/cm3 (ICRU-44 gives 0.26 for the inflated organ, 1.05 for its tissue)."""
LUNG = 0.1 * 0.2053 * LUNG_DENSITY
"""Lung tissue (ICRU-44) at the density of the inflated organ."""
CORTICAL_BONE = 0.1 * 0.3148 * 1.92
"""Cortical bone (ICRU-44)."""
SPONGY_BONE = 0.1 * 0.2420 * 1.18
"""Marrow with trabeculae: a quarter of cortical bone's mass in soft tissue, at the density of ICRP-89's spongiosa."""
TITANIUM = 0.1 * 0.7661 * 4.54
"""Case of a pulse generator."""
IRON = 0.1 * 1.205 * 7.874
"""Wires, pins, buttons."""
BARIUM_POLYMER = 0.12
"""Radiopaque stripe of a tube: PVC with about a sixth of its mass in barium sulphate."""
CALCIUM = 0.5 * (CORTICAL_BONE + SPONGY_BONE)
"""Calcified tissue, callus and dense granulomas."""
