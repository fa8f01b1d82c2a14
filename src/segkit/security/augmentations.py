"""The augmentations in the table of `segkit.security.allowed`."""

from segkit.security.built import Built
from segkit.security.kinds import Arguments, Either, Kind, List, Map, Maybe, Number, Switch, Text, each, one_of

# The transforms of albumentations that need only the picture and its mask. Those that read other pictures or fonts
# (FDA, HistogramMatching, TextImage, …) or call functions (Lambda) are left out.
SWITCH, SHARE, COUNT = Switch(), Number(0, 1), Number(0, 10**9, whole=True)
WORD = Text(r"[A-Za-z0-9_-]{0,40}", "a word")


def setting(most: float) -> Kind:
    """One or several numbers, a word or a switch."""
    number = Number(-most, most)
    return Maybe(Either((
        SWITCH, number, WORD, List(Either((number, WORD, List(number, 256))), 256),
        Map(Either((number, List(number, 2, 2)))),
    )))


SETTING = setting(10000)
# One transform may make a picture four times as large. `Augment` checks the result of several.
GROWING: dict[str, Arguments] = {
    "CropAndPad": {"px": setting(1000), "percent": setting(0.5)}, "Pad": {"padding": setting(1000)},
    "RandomScale": {"scale_limit": setting(1)}, **each("Affine Perspective", {"fit_output": one_of(False)}),
    **each("SmallestMaxSize LongestMaxSize", {"max_size": setting(4096), "max_size_hw": setting(4096)}),
}
FILL, SIDES = "border_mode fill fill_mask ", "interpolation mask_interpolation "
WARPED = SIDES + FILL + "keypoint_remapping_method "
TRANSFORMS: dict[str, Arguments] = {
    f"albumentations.{name}": each(f"{words} p", SETTING) | dict(GROWING.get(name, {}))
    for name, words in {
        "AdditiveNoise": "noise_type spatial_mode noise_params approximation",
        "AdvancedBlur": "blur_limit sigma_x_limit sigma_y_limit rotate_limit beta_limit noise_limit",
        "Affine": SIDES + FILL + "scale translate_percent translate_px rotate shear fit_output keep_ratio "
                                 "rotate_method balanced_scale",
        "AutoContrast": "cutoff ignore method", "Blur": "blur_limit", "CLAHE": "clip_limit tile_grid_size",
        "CenterCrop": FILL + "height width pad_if_needed pad_position", "ChannelDropout": "channel_drop_range fill",
        "ChannelShuffle": "",
        "ChromaticAberration": "primary_distortion_limit secondary_distortion_limit mode interpolation",
        "CoarseDropout": "num_holes_range hole_height_range hole_width_range fill fill_mask",
        "ColorJitter": "brightness contrast saturation hue",
        "ConstrainedCoarseDropout": "num_holes_range hole_height_range hole_width_range fill fill_mask mask_indices",
        "Crop": FILL + "x_min y_min x_max y_max pad_if_needed pad_position",
        "CropAndPad": SIDES + FILL + "px percent keep_size sample_independently",
        "CropNonEmptyMaskIfExists": "height width ignore_values ignore_channels", "D4": "",
        "Defocus": "radius alias_blur", "Downscale": "scale_range interpolation_pair",
        "ElasticTransform": WARPED + "alpha sigma approximate same_dxdy noise_distribution",
        "Emboss": "alpha strength", "Equalize": "mode by_channels", "Erasing": "scale ratio fill fill_mask",
        "FancyPCA": "alpha", "GaussNoise": "std_range mean_range per_channel noise_scale_factor",
        "GaussianBlur": "blur_limit sigma_limit", "GlassBlur": "sigma max_delta iterations mode",
        "GridDistortion": WARPED + "num_steps distort_limit normalized",
        "GridDropout": "ratio random_offset unit_size_range holes_number_xy shift_xy fill fill_mask",
        "GridElasticDeform": SIDES + "num_grid_xy magnitude", "HorizontalFlip": "",
        "HueSaturationValue": "hue_shift_limit sat_shift_limit val_shift_limit",
        "ISONoise": "color_shift intensity",
        "Illumination": "mode intensity_range effect_type angle_range center_range sigma_range",
        "ImageCompression": "compression_type quality_range", "InvertImg": "",
        "LongestMaxSize": SIDES + "max_size max_size_hw area_for_downscale", "MedianBlur": "blur_limit",
        "Morphological": "scale operation", "MotionBlur": "blur_limit allow_shifted angle_range direction_range",
        "MultiplicativeNoise": "multiplier per_channel elementwise", "NoOp": "",
        "OpticalDistortion": WARPED + "distort_limit mode", "Pad": FILL + "padding",
        "PadIfNeeded": FILL + "min_height min_width pad_height_divisor pad_width_divisor position",
        "Perspective": SIDES + FILL + "scale keep_size fit_output",
        "PiecewiseAffine": WARPED + "scale nb_rows nb_cols absolute_scale",
        "PixelDropout": "dropout_prob per_channel drop_value mask_drop_value",
        "PlanckianJitter": "mode temperature_limit sampling_method",
        "PlasmaBrightnessContrast": "brightness_range contrast_range plasma_size roughness",
        "PlasmaShadow": "shadow_intensity_range plasma_size roughness", "Posterize": "num_bits",
        "RGBShift": "r_shift_limit g_shift_limit b_shift_limit",
        "RandomBrightnessContrast": "brightness_limit contrast_limit brightness_by_max ensure_safe_range",
        "RandomCrop": FILL + "height width pad_if_needed pad_position",
        "RandomCropFromBorders": "crop_left crop_right crop_top crop_bottom",
        "RandomFog": "alpha_coef fog_coef_range", "RandomGamma": "gamma_limit", "RandomGridShuffle": "grid",
        "RandomGravel": "gravel_roi number_of_patches",
        "RandomRain": "slant_range drop_length drop_width drop_color blur_value brightness_coefficient rain_type",
        "RandomResizedCrop": SIDES + "size scale ratio area_for_downscale", "RandomRotate90": "",
        "RandomScale": SIDES + "scale_limit area_for_downscale",
        "RandomShadow": "shadow_roi num_shadows_limit shadow_dimension shadow_intensity_range",
        "RandomSizedCrop": SIDES + "min_max_height size w2h_ratio area_for_downscale",
        "RandomSnow": "brightness_coeff snow_point_range method",
        "RandomSunFlare": "flare_roi src_radius src_color angle_range num_flare_circles_range method",
        "RandomToneCurve": "scale per_channel", "Resize": SIDES + "height width area_for_downscale",
        "RingingOvershoot": "blur_limit cutoff", "Rotate": SIDES + FILL + "limit rotate_method crop_border",
        "SafeRotate": SIDES + FILL + "limit rotate_method", "SaltAndPepper": "amount salt_vs_pepper",
        "Sharpen": "alpha lightness method kernel_size sigma",
        "ShiftScaleRotate": SIDES + FILL + "shift_limit scale_limit rotate_limit shift_limit_x shift_limit_y "
                                           "rotate_method",
        "ShotNoise": "scale_range", "SmallestMaxSize": SIDES + "max_size max_size_hw area_for_downscale",
        "Solarize": "threshold_range", "Spatter": "mean std gauss_sigma cutout_threshold intensity mode color",
        "SquareSymmetry": "", "Superpixels": "p_replace n_segments max_size interpolation",
        "ThinPlateSpline": WARPED + "scale_range num_control_points", "ToGray": "num_output_channels method",
        "ToSepia": "", "Transpose": "", "UnsharpMask": "blur_limit sigma_limit alpha threshold", "VerticalFlip": "",
        "XYMasking": "num_masks_x num_masks_y mask_x_length mask_y_length fill fill_mask",
        "ZoomBlur": "max_factor step_factor",
    }.items()
}
CHAIN = List(Built("transform"), 100)
TRANSFORMS |= {f"albumentations.{name}": {"transforms": CHAIN, "n": COUNT, "replace": SWITCH, "p": SHARE}
               for name in ("OneOf", "SomeOf", "Sequential", "RandomOrder", "OneOrOther")}
PHOTOMETRIC: dict[str, Arguments] = {
    "segkit.datasets.augment.Photometric": each("brightness contrast hue saturation value", Number(0, 255)) | each(
        "p p_color", SHARE)
}
AUGMENTS: dict[str, Arguments] = {
    "segkit.datasets.augment.Augment": {
        **each("horizontal vertical", SHARE), "turns": SWITCH, "transforms": CHAIN,
        "on_device": Maybe(Built("photometric"))},
}
